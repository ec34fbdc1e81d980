"""Hosts on this machine: each with its own network address, name, processes, home, temporary folder and sshd.

A host is a set of Linux namespaces, whose first process ends with all others of the host when its standard input
closes: also when the process that made the hosts is killed. The switch between the hosts is one more namespace, in
which their shared folder is mounted: a disk of its own, in a file. Nothing of this machine is changed: no interface, no
named namespace, no user, no mount, and no file outside of the folder of the hosts.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOME = "/mnt/home/thaw"
USER = "thaw"

SWITCH = """
set -e
exec 2>&1
mount --make-rprivate /
mount -o loop "$FOLDER/disk" "$FOLDER/shared"
ip link set lo up
ip link add br0 type bridge
ip link set br0 up
echo booted
read -r _
"""

# ROOT may lie below /tmp, which is the host's own: hence the detour.
BOOT = """
set -e
exec 2>&1
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /mnt
mkdir -p /mnt/code /mnt/home/thaw /mnt/shared
mount --bind "$ROOT" /mnt/code
mount --bind "$FOLDER/home" /mnt/home/thaw
mount --bind "$SHARED" /mnt/shared
mount --bind "$FOLDER/passwd" /etc/passwd
mount --bind "$FOLDER/host" /etc/ssh
mount --bind "$FOLDER/tmp" /tmp
if [ ! -e "$ROOT" ]; then mkdir -p "$ROOT"; mount --bind /mnt/code "$ROOT"; fi
mount -t tmpfs -o size=8g tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mkdir /run/sshd
hostname "$NAME"
ip link set lo up
echo booted
read -r _
ip address add "$ADDRESS/24" dev eth0
ip link set eth0 up
ip route add default dev eth0
/usr/sbin/sshd
echo up
read -r _
"""

SSHD = """
Port 22
HostKey /etc/ssh/host_key
AuthorizedKeysFile /etc/ssh/authorized_keys
PermitRootLogin yes
PasswordAuthentication no
UsePAM no
PrintMotd no
Subsystem sftp internal-sftp
"""


@cache
def why_not() -> str:
    """Return why there can be no hosts on this machine; the empty text where there can be."""
    for tool in ("unshare", "nsenter", "ip", "mkfs.ext4", "fsfreeze", "ssh", "ssh-keygen", "rsync", "/usr/sbin/sshd"):
        if shutil.which(tool) is None:
            return f"no {tool}: install util-linux, iproute2, e2fsprogs, rsync, openssh-client and openssh-server"
    trial = ["unshare", "--net", "--mount", "--pid", "--uts", "--fork", "--kill-child", "bash", "-c"]
    tried = subprocess.run(
        [*trial, "mount -t proc proc /proc && ip link set lo up && losetup --find"], capture_output=True, text=True
    )
    return f"namespaces are not allowed here: {tried.stderr.strip()}" if tried.returncode else ""


@dataclass
class Host:
    """Host: a machine of its own as far as its processes can tell, which share this machine's cores and disks."""

    name: str
    address: str
    folder: Path
    process: subprocess.Popen[str]
    port: list[str]
    """Command that sets its port of the switch, without the last word."""

    def command(self, *words: object, **variables: str) -> list[str]:
        """Return the command that runs `words` on this host, in its home, as after a login there."""
        pid = self.process.pid
        own = ("--net", "--mount", "--uts", f"--pid=/proc/{pid}/ns/pid_for_children")
        path = f"{HOME}/thaw-venv/bin:{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        environment = {"HOME": HOME, "USER": USER, "PATH": path, "COLUMNS": "200", "LC_ALL": "C.UTF-8", **variables}
        pairs = [f"{name}={value}" for name, value in environment.items()]
        return ["nsenter", "-t", str(pid), *own, "env", "-i", "-C", HOME, *pairs, *map(str, words)]

    def start(self, *words: object, **variables: str) -> subprocess.Popen[str]:
        """Start a command on this host."""
        return subprocess.Popen(
            self.command(*words, **variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: object, timeout: float = 300, code: int = 0, **variables: str) -> str:
        """Run a command on this host to its end, and return its output. Fails for another exit code."""
        with self.start(*words, **variables) as process:
            try:
                output, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                output = end(process)
                raise AssertionError(f"{shlex.join(map(str, words))} took {timeout} s: {output}") from None
        assert process.returncode == code, f"{shlex.join(map(str, words))}: {process.returncode}\n{output}"
        return output

    def shell(self, line: str, **options: object) -> str:
        """Run a line as it is typed into a shell of this host."""
        return self.run("bash", "-c", line, **options)  # type: ignore[arg-type]

    def cut_off(self) -> None:
        """Pull the cable: no packet arrives and none leaves, and no process is told."""
        subprocess.run([*self.port, "down"], check=True)

    def reconnect(self) -> None:
        """Plug the cable in again."""
        subprocess.run([*self.port, "up"], check=True)

    def switch_off(self) -> None:
        """End all processes of this host at once, as the loss of its power does: no other host is told."""
        self.cut_off()
        if self.process.poll() is None:
            subprocess.run(["pkill", "-KILL", "--parent", str(self.process.pid)], check=False)
        self.process.communicate()


@dataclass
class Network:
    """Network: hosts that reach one another, and the folder that they share as /mnt/shared."""

    folder: Path
    switch: subprocess.Popen[str]
    stack: contextlib.ExitStack
    made: list[Host]

    @property
    def shared(self) -> Path:
        """The shared folder as this process sees it."""
        return Path(f"/proc/{self.switch.pid}/root{self.folder}/shared")

    def add(self, name: str, address: str) -> Host:
        """Switch on one more host. It accepts the key `~/.ssh/id_ed25519` that the first host alone has."""
        own = _furnish(self.folder / name, self.folder / "id_ed25519", has_key=not self.made)
        variables = {"NAME": name, "ADDRESS": address, "FOLDER": str(own), "SHARED": f"{self.folder}/shared"}
        process = self.stack.enter_context(_process(BOOT, variables, self.switch))
        host = Host(name, address, own, process, _plug(self.switch.pid, process, len(self.made)))
        self.made.append(host)
        return host

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """Let every write to the shared folder wait for the time of the block, as while its server restarts.

        What touches the folder in the block waits as well, and cannot be killed.
        """
        subprocess.run(["fsfreeze", "--freeze", self.shared], check=True)
        try:
            yield
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", self.shared], check=True)


@contextlib.contextmanager
def network(folder: Path) -> Iterator[Network]:
    """A network without hosts, for the time of the block; `folder` is empty, and has a short path."""
    (folder / "shared").mkdir()
    subprocess.run(["truncate", "--size=16G", folder / "disk"], check=True)
    subprocess.run(["mkfs.ext4", "-q", folder / "disk"], check=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "id_ed25519"], check=True)
    with contextlib.ExitStack() as stack:
        switch = stack.enter_context(_process(SWITCH, {"FOLDER": str(folder)}))
        yield Network(folder, switch, stack, [])


def _furnish(folder: Path, key: Path, *, has_key: bool) -> Path:
    """Make the folders of a host: home, temporary folder, and the files of its sshd."""
    home, etc = folder / "home", folder / "host"
    shutil.copytree("/etc/skel", home)
    (home / ".ssh").mkdir(mode=0o700)
    if has_key:
        shutil.copy(key, home / ".ssh" / key.name)
    (folder / "tmp").mkdir(mode=0o1777)
    etc.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", etc / "host_key"], check=True)
    (etc / "sshd_config").write_text(SSHD)
    (etc / "authorized_keys").write_bytes(key.with_suffix(".pub").read_bytes())
    # The user may do what this machine's root may in these namespaces: mount, and give itself more open files.
    users = f"{USER}:x:0:0::{HOME}:/bin/bash\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n"
    (folder / "passwd").write_text(users + "nobody:x:65534:65534::/:/usr/sbin/nologin\n")
    return folder


@contextlib.contextmanager
def _process(
    script: str, variables: dict[str, str], switch: subprocess.Popen[str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run the first process of new namespaces until the end of the block, and all others there with it.

    The mounts that it begins with are this machine's, or those of the switch.
    """
    sees = [] if switch is None else ["nsenter", "-t", str(switch.pid), "--mount"]
    own = ["unshare", "--net", "--mount", "--pid", "--uts", "--fork", "--kill-child", "bash", "-c", script]
    environment = {**os.environ, "ROOT": str(ROOT), **variables}
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [*sees, *own], env=environment, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True
    )
    try:
        _expect(process, "booted")
        yield process
    finally:
        with contextlib.suppress(BrokenPipeError, ValueError):  # it was switched off
            process.stdin.close()  # type: ignore[union-attr]
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()  # and with it its child, the first process of the namespaces
            process.wait(30)
        process.stdout.close()  # type: ignore[union-attr]


def _expect(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if line.strip() == word:
            return
    raise AssertionError(f"a host must say `{word}`, said: {''.join(said)}")


def _plug(switch: int, process: subprocess.Popen[str], number: int) -> list[str]:
    """Connect a host that has booted with the switch, and wait until its sshd listens; return `Host.port`."""
    enter = ["nsenter", "-t", str(switch), "--net", "ip", "link"]
    port = f"port{number}"
    for words in (
        ["add", port, "type", "veth", "peer", "name", "eth0", "netns", str(process.pid)],
        ["set", port, "master", "br0", "up"],
    ):
        subprocess.run([*enter, *words], check=True)
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    _expect(process, "up")
    return [*enter, "set", port]


def install(made: Sequence[Host]) -> None:
    """Give each of the hosts `~/thaw-venv`, as after an earlier `ray up`: all that Thaw needs, but not Thaw.

    The packages are those of the environment that runs the tests; the hosts reach no package registry.
    """
    site = next(path for path in sys.path if path.endswith("site-packages"))
    first, *others = made
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    first.run(sys._base_executable, "-m", "venv", f"{HOME}/thaw-venv")  # type: ignore[attr-defined]
    venv = first.folder / "home" / "thaw-venv"
    (venv / "lib" / version / "site-packages" / "packages.pth").write_text(f"{site}\n")
    ray = venv / "bin" / "ray"
    ray.write_text(f"#!{HOME}/thaw-venv/bin/python\nfrom ray.scripts.scripts import main\nmain()\n")
    ray.chmod(0o755)
    for other in others:
        shutil.copytree(venv, other.folder / "home" / "thaw-venv", symlinks=True)
    for host in made:
        usage = host.folder / "home" / ".ray" / "config.json"
        usage.parent.mkdir()
        usage.write_text('{"usage_stats": false}')
        settings = host.folder / "home" / ".config" / "pip" / "pip.conf"
        settings.parent.mkdir(parents=True)
        settings.write_text("[global]\nno-index = true\nno-deps = true\ndisable-pip-version-check = true\n")


def end(process: subprocess.Popen[str]) -> str:
    """End a command that `Host.start` has started, where it still runs, and its children; return its last output."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)  # the group, since nsenter has forked the command
    try:
        return process.communicate(timeout=10)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[0]


def wait_until(condition: object, seconds: float, what: str) -> None:
    """Wait until `condition()` is true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.3)
