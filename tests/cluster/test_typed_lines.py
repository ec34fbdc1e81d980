"""Each line that clusters/README.md and on-premises.yaml show to be typed is typed by a test here, or has a reason.

AWS and Kubernetes have files of their own, which say that nobody has launched them.
"""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
LAUNCHED, BY_HAND = "test_launched.py", "test_by_hand.py"

# Each line, with the file of tests that types it and the words with which it does.
TYPED = {
    "ray attach clusters/on-premises.yaml": (LAUNCHED, "ray attach {FILE}"),
    "ray down clusters/on-premises.yaml": (LAUNCHED, "ray down --yes {FILE}"),
    "ray up clusters/on-premises.yaml": (LAUNCHED, "ray up --yes {FILE}"),
    "thaw doctor /mnt/shared/sweep.yaml --address auto": (LAUNCHED, "thaw doctor {file} --address auto"),
    "thaw submit sweep.yaml --address http://localhost:8265": (LAUNCHED, "thaw submit {calm} --address {DASHBOARD}"),
    "ray get-auth-token --generate": (LAUNCHED, "ray get-auth-token --generate"),
    "uv build --wheel": (LAUNCHED, "uv build --wheel"),
    "export RAY_AUTH_MODE=token": (BY_HAND, "export RAY_AUTH_MODE=token"),
    "export RAY_worker_killing_policy_by_group=true": (BY_HAND, "RAY_worker_killing_policy_by_group=true"),
    "ray start --address=HEAD:6379": (BY_HAND, "ray start --address={head.address}:6379"),
    "ray start --head --port=6379 --num-cpus=0": (BY_HAND, "ray start --head --port=6379 --num-cpus=0"),
    "ray stop": (BY_HAND, "ray stop"),
    "thaw resume runs/sweep --address auto": (BY_HAND, '"thaw", "resume", f"{RUNS}/both", "--address", "auto"'),
    "thaw sweep sweep.yaml --address auto": (BY_HAND, '"thaw", "sweep", file, "--address", "auto"'),
    "thaw submit --resume /mnt/shared/runs/sweep --address http://localhost:8265": (
        BY_HAND,
        "thaw submit --resume {RUNS}/headless --address http://localhost:8265",
    ),
    "thaw submit --extend /mnt/shared/runs/sweep --trials 10 --address http://localhost:8265": (
        BY_HAND,
        "thaw submit --extend {RUNS}/headless --trials 1 --address http://localhost:8265",
    ),
}

NOT_TYPED = {
    "thaw doctor sweep.yaml --address auto": "it is typed with the full path of the file",
    "thaw sweep /mnt/shared/sweep.yaml --address auto": "on the launched cluster sweeps are submitted",
    "thaw plan sweep.yaml --address auto --price 1.20/h": "tests/integration/test_clusters.py types it with HOST:PORT",
    "thaw plan sweep.yaml --nodes 8 --price '$1.20/h'": "of machines that are not there yet",
    "source ~/thaw-venv/bin/activate": "on a cluster with SLURM, of which there is none here",
    "sbatch clusters/slurm.sh /shared/sweep.yaml /shared/runs/sweep": "tests/test_slurm.py runs the script with stubs",
}


def lines(path: str) -> set[str]:
    """The lines to type: of a page those of its shell blocks, of a cluster file those of its first comment."""
    text = (ROOT / path).read_text()
    if path.endswith(".md"):
        found = [line for block in re.findall(r"```sh\n(.*?)```", text, re.S) for line in block.splitlines()]
    else:
        found = re.findall(r"(?m)^# {3,}((?:uv|ray|thaw|kubectl) .*)", text.partition("\n\ncluster_name")[0])
    return {line.partition(" #")[0].strip() for line in found} - {""}


def test_each_line_is_typed_or_has_a_reason() -> None:
    said = lines("clusters/README.md") | lines("clusters/on-premises.yaml")
    assert said == {*TYPED, *NOT_TYPED}
    for line, (file, words) in TYPED.items():
        assert words in (Path(__file__).parent / file).read_text(), line
