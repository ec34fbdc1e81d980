import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from search_spaces.errors import InvalidInput, StorageFailed
from trainables.checkpoint_state import CheckpointState
from trainables.config import TrialConfig
from trainables.loop.checkpoint import (
    begin_attempt,
    end_attempt,
    exists,
    load_checkpoint,
    load_part,
    load_trained,
    optimizer_tensors,
    save_checkpoint,
)
from trainables.model.build import bare_model
from trainables.result import EpochReport
from trainables.storage.place import storage_errors

Config = Callable[..., TrialConfig]


@pytest.fixture
def state(trial_config: Config) -> CheckpointState:
    report = EpochReport(epoch=1, metrics={"val/macro_f1": 1 / 3}, seconds=0.1, checkpoint="best")
    return CheckpointState(
        config=trial_config(), classes=("a", "b"), fingerprint="f", mean=(0, 0.1, 0.2), std=(1, 2, 3), reports=(report,)
    )


def test_a_trained_model_comes_back_in_eval_mode(state: CheckpointState, tmp_path: Path) -> None:
    model = bare_model("test_efficientnet", 2, seed=5)
    save_checkpoint(tmp_path / "deep" / "best", model.state_dict(), state)
    restored, read = load_trained(tmp_path / "deep" / "best")
    assert read == state
    assert not any(module.training for module in restored.modules())
    torch.testing.assert_close(restored.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_a_checkpoint_is_safetensors_and_json_and_leaves_nothing_else(state: CheckpointState, tmp_path: Path) -> None:
    model = bare_model("test_efficientnet", 2)
    optimizer = torch.optim.AdamW([{"params": [model.classifier.bias], "names": ["classifier.bias"]}])
    for _ in range(2):
        save_checkpoint(tmp_path / "last", model.state_dict(), state, optimizer_tensors(optimizer))
    assert [path.name for path in tmp_path.iterdir()] == ["last"]
    files = sorted(path.name for path in (tmp_path / "last").iterdir())
    assert files == ["model.safetensors", "optimizer.safetensors", "state.json"]
    load_file(tmp_path / "last" / "optimizer.safetensors")


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_the_files_obey_the_umask(state: CheckpointState, tmp_path: Path, umask: int) -> None:
    model = bare_model("test_efficientnet", 2)
    former = os.umask(umask)
    try:
        save_checkpoint(tmp_path / "best", model.state_dict(), state)
        save_checkpoint(tmp_path / "last", model.state_dict(), state, weights_in=tmp_path / "best")
    finally:
        os.umask(former)
    for folder in (tmp_path / "best", tmp_path / "last"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o777 & ~umask
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o666 & ~umask}


def test_a_full_disk_is_said_as_such_and_the_old_checkpoint_stays(
    state: CheckpointState, small_disk: tuple[Path, Callable[[int], None]]
) -> None:
    folder = small_disk[0] / "checkpoints" / "best"
    small, large = nn.Linear(256, 256), nn.Linear(512, 512)  # 0.25 and 1 MiB
    save_checkpoint(folder, small.state_dict(), state)
    with (
        pytest.raises(StorageFailed, match=r"best: the disk is full \(No space left on device\)"),
        storage_errors(folder / "x"),
    ):
        save_checkpoint(folder, large.state_dict(), state)
    other = nn.Linear(256, 256)
    load_checkpoint(folder, other)
    torch.testing.assert_close(other.state_dict(), small.state_dict(), rtol=0, atol=0)


def test_tied_and_strided_weights(state: CheckpointState, tmp_path: Path) -> None:
    def build() -> nn.Sequential:
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Conv2d(3, 4, 3))
        model[1].weight = model[0].weight
        return model.to(memory_format=torch.channels_last)

    model, other = build(), build()
    save_checkpoint(tmp_path / "best", model.state_dict(), state)
    load_checkpoint(tmp_path / "best", other)
    torch.testing.assert_close(other.state_dict(), model.state_dict(), rtol=0, atol=0)
    assert other[1].weight is other[0].weight


@pytest.mark.parametrize("content", [None, "", "{", '{"config": 3}'])
def test_what_is_no_checkpoint(content: str | None, tmp_path: Path) -> None:
    folder = tmp_path / "best"
    if content is not None:
        folder.mkdir()
        (folder / "state.json").write_text(content)
    assert exists(folder) == (content is not None)
    with pytest.raises(InvalidInput, match=r"checkpoint must be a folder written by Thaw, got .*best .*; train the"):
        CheckpointState.read(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors"])
@pytest.mark.parametrize("damaged", [False, True])
def test_a_checkpoint_with_a_file_missing_or_damaged(
    name: str, damaged: bool, state: CheckpointState, tmp_path: Path
) -> None:
    model = bare_model("test_efficientnet", 2)
    optimizer = torch.optim.AdamW([{"params": [model.classifier.bias], "names": ["classifier.bias"]}])
    save_checkpoint(tmp_path / "last", model.state_dict(), state, optimizer_tensors(optimizer))
    (tmp_path / "last" / name).unlink()
    if damaged:
        (tmp_path / "last" / name).write_bytes(b"\xff" * 20)
    with pytest.raises(InvalidInput, match=f"checkpoint must hold {name}, got none that is readable"):
        load_checkpoint(tmp_path / "last", model, optimizer)


def test_a_checkpoint_without_a_tensor_of_its_model(state: CheckpointState, tmp_path: Path) -> None:
    model = bare_model("test_efficientnet", 2)
    tensors = model.state_dict()
    for name, changed in (("classifier.bias", {}), ("classifier.weight", {"classifier.weight": torch.zeros(1)})):
        save_checkpoint(tmp_path / "best", {n: t for n, t in tensors.items() if n != name} | changed, state)
        rule = f"must hold the tensors of its model, got .*model.safetensors without {name}, or in another shape"
        with pytest.raises(InvalidInput, match=rule):
            load_checkpoint(tmp_path / "best", model)
        optimizer = torch.optim.AdamW(model.parameters())
        with pytest.raises(InvalidInput, match=rule):
            load_part(tmp_path / "best", model, optimizer, None)


def test_interrupted_between_the_two_renames_the_old_one_is_read(state: CheckpointState, tmp_path: Path) -> None:
    folder = tmp_path / "last"
    model = bare_model("test_efficientnet", 2)
    save_checkpoint(folder, model.state_dict(), state)
    folder.rename(tmp_path / ".last.old")
    assert exists(folder)
    assert load_trained(folder)[1] == state
    longer = state.model_copy(update={"fingerprint": "g"})
    save_checkpoint(folder, model.state_dict(), longer)
    assert load_trained(folder)[1] == longer
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


SAVE = """
import sys
from pathlib import Path
import torch
from trainables.checkpoint_state import CheckpointState
from trainables.loop.checkpoint import save_checkpoint
from trainables.model.build import bare_model

folder = Path(sys.argv[1])
state = CheckpointState.read(folder)
model = bare_model("test_efficientnet", 2)
number = 0
while True:
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, number)
    save_checkpoint(folder, model.state_dict(), state.model_copy(update={"fingerprint": str(number)}))
    number += 1
    print(number, flush=True)
"""


def test_sigkill_in_the_middle_of_saving_never_costs_the_checkpoint(state: CheckpointState, tmp_path: Path) -> None:
    folder = tmp_path / "last"
    save_checkpoint(folder, bare_model("test_efficientnet", 2).state_dict(), state)
    # Forked from one process that has paid the imports: a kill is then a matter of milliseconds.
    server = f"""
import os, sys, torch, trainables.loop.checkpoint, trainables.model.build
torch.set_num_threads(1)
code = {SAVE!r}
for line in sys.stdin:
    if os.fork() == 0:
        print("pid", os.getpid(), flush=True)
        exec(code)
    os.wait()
    print("\\ndead", flush=True)  # on a line of its own, whatever the killed one had begun to say
"""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", server, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        seen = set()
        for attempt in range(15):
            process.stdin.write("go\n")
            process.stdin.flush()
            pid = int(process.stdout.readline().split()[1])
            assert process.stdout.readline().strip() == "1"
            time.sleep(0.002 + 0.0022 * attempt)
            os.kill(pid, signal.SIGKILL)
            while (said := process.stdout.readline()).strip() != "dead":
                assert said, "the server has ended"
            assert exists(folder)
            model, read = load_trained(folder)
            # Whole, and of one save: weights and state belong together.
            assert {float(parameter.detach().unique()) for parameter in model.parameters()} == {float(read.fingerprint)}
            seen.add(tuple(sorted(path.name for path in tmp_path.iterdir())))
        process.stdin.close()
    assert any(len(names) > 1 for names in seen), "no kill fell into a save"


def test_a_folder_that_cannot_be_made_is_a_fault_of_the_storage(tmp_path: Path) -> None:
    (tmp_path / "0000").write_text("in the way")
    with pytest.raises(StorageFailed, match="cannot write 0000"):
        begin_attempt(tmp_path / "0000")


OTHER_ATTEMPT = """
import sys
from pathlib import Path
from trainables.loop.checkpoint import begin_attempt
begin_attempt(Path(sys.argv[1]))
"""


def test_of_two_attempts_at_a_trial_the_later_one_writes(state: CheckpointState, tmp_path: Path) -> None:
    checkpoints, model = tmp_path / "0000", nn.Linear(2, 2)
    begin_attempt(checkpoints)
    save_checkpoint(checkpoints / "last", model.state_dict(), state)
    written = (checkpoints / "last" / "model.safetensors").read_bytes()
    subprocess.run([sys.executable, "-c", OTHER_ATTEMPT, checkpoints], check=True)
    with pytest.raises(StorageFailed, match="but another has taken it up since"):
        save_checkpoint(checkpoints / "last", nn.Linear(2, 2).state_dict(), state)
    assert (checkpoints / "last" / "model.safetensors").read_bytes() == written
    begin_attempt(checkpoints)
    save_checkpoint(checkpoints / "best", model.state_dict(), state)
    end_attempt(checkpoints)
    assert sorted(path.name for path in checkpoints.iterdir()) == ["best", "last"]
