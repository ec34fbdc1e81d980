"""Checkpoints of trials that start from weights hold only what was trained, and nothing is lost by that.

Real pixels, a small model with BatchNorm whose statistics, and counters of batches, come from a file.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from warmed_weights import write_warmed

from search_spaces.errors import InvalidInput
from trainables.checkpoint_state import CheckpointState
from trainables.config import TrialConfig
from trainables.data.arrays import Arrays
from trainables.data.digits import write_digits
from trainables.data.node_cache import NodeCache
from trainables.loop.checkpoint import load_trained, make_whole, save_checkpoint
from trainables.loop.evaluate_checkpoints import evaluate_checkpoint
from trainables.loop.head_learner import open_learner
from trainables.loop.learner import Learner
from trainables.loop.source_files import source_digests
from trainables.loop.train import train
from trainables.model.build import bare_model, build_model
from trainables.model.freeze_plan import freeze_plan
from trainables.model.stages import stage_table
from trainables.result import EpochReport
from trainables.storage.folders import TrialFolders

pytestmark = pytest.mark.usefixtures("one_thread")

ARCHITECTURE = "test_efficientnet"
PLANS: dict[str, dict[str, Any]] = {
    "head": {"strategy": "head"},
    "partial": {"strategy": "partial", "trainable_stages": 2},
    "progressive": {"strategy": "progressive", "unfreeze_epoch": 2},
    "gradual": {"strategy": "gradual", "last_stage_epoch": 1, "full_after": 1},
    "full": {"strategy": "full"},
}
FILES = ("model.safetensors", "optimizer.safetensors", "ema.safetensors")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("few")
    write_digits(root, keep={**dict.fromkeys(range(10), 0.0), 0: 0.1, 1: 0.2, 2: 0.2})
    return root


@pytest.fixture(scope="module")
def warmed(few: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    return write_warmed(folder / "warmed.safetensors", ARCHITECTURE, few, folder / "cache")


@pytest.fixture
def weights(warmed: Path, tmp_path: Path) -> Path:
    """A copy of the weights, for a test that changes them."""
    return Path(shutil.copy(warmed, tmp_path / "weights.safetensors"))


@pytest.fixture
def config(few: Path) -> Callable[..., TrialConfig]:
    def make(weights: Path, **settings: Any) -> TrialConfig:
        data = {"root": few, "image_size": 32, "resize_mode": "squash"}
        quick = {"architecture": ARCHITECTURE, "strategy": "head", "epochs": 3, "lr": 3e-3, "batch_size": 16, "seed": 7}
        chance = {"dropout": 0.3, "drop_path": 0.1}
        return TrialConfig.model_validate({**quick, **chance, **settings, "weights": str(weights), "data": data})

    return make


@pytest.fixture
def folders(tmp_path: Path, cache_dir: Path) -> Callable[[str], TrialFolders]:
    def make(name: str) -> TrialFolders:
        return TrialFolders(tmp_path / name / "checkpoints", tmp_path / name / "predictions.parquet", cache_dir)

    return make


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> dict[int, dict[str, dict[str, Tensor]]]:
    """By epoch, the whole state of the model and of what is evaluated of it, at the moment at which both are saved."""
    found: dict[int, dict[str, dict[str, Tensor]]] = {}
    save = Learner.save

    def spy(learner: Learner, folder: Path, state: CheckpointState, weights_in: Path | None = None) -> None:
        parts = {"last": learner.model, "best": learner.trained}
        found[len(state.reports)] = {name: cloned(part.state_dict()) for name, part in parts.items()}
        save(learner, folder, state, weights_in)

    monkeypatch.setattr(Learner, "save", spy)
    monkeypatch.setattr("trainables.loop.folds.fold_heads.open_learner", whole_network)
    return found


def whole_network(config: TrialConfig, arrays: Arrays, cache: NodeCache, _: CheckpointState | None = None) -> Learner:
    """A learner with the whole network, also for a head that could be trained by itself."""
    return Learner(config, arrays, cache)


def cloned(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def told(reports: list[EpochReport]) -> list[dict[str, Any]]:
    return [report.model_dump(exclude={"seconds"}) for report in reports]


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def assert_same_files(one: Path, other: Path) -> None:
    for name in FILES:
        assert (one / name).exists() == (other / name).exists()
        if (one / name).exists():
            assert_same(load_file(one / name), load_file(other / name))


def changing(config: TrialConfig, epoch: int) -> set[str]:
    """Names of the tensors that training can have changed up to an epoch, derived from the layers."""
    model, plan = bare_model(ARCHITECTURE, 3), freeze_plan(config)
    trained = {name for each in range(epoch) for name in stage_table(model).trainable(plan.stages_at(each))}
    norms = {path: part for path, part in model.named_modules() if isinstance(part, nn.BatchNorm2d)}
    moving = {path for path in norms if config.norm_stats == "batch" and f"{path}.weight" in trained}
    statistics = {f"{path}.{name}" for path in moving for name, _ in norms[path].named_buffers()}
    counters = {f"{path}.num_batches_tracked" for path in norms if config.ema_decay is not None}
    return trained | statistics | counters


@pytest.mark.parametrize("average", [None, 0.9])
@pytest.mark.parametrize("network_first", [True, False])
def test_a_head_resumes_with_its_network_and_without(
    network_first: bool,
    average: float | None,
    warmed: Path,
    config: Callable[..., TrialConfig],
    folders: Callable[[str], TrialFolders],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial, opened = config(warmed, **PLANS["head"], ema_decay=average), []

    def use(network: bool) -> None:
        def opener(*given: Any) -> Any:
            opened.append((whole_network if network else open_learner)(*given))
            return opened[-1]

        monkeypatch.setattr("trainables.loop.folds.fold_heads.open_learner", opener)

    use(network_first)
    whole, changed = folders("whole"), folders("changed")
    reports = list(train(trial, whole))
    begun = train(trial, changed)
    first = [next(begun)]
    begun.close()
    use(not network_first)
    rest = list(train(trial, changed, resume_from=changed.last))
    assert [type(learner) is Learner for learner in opened[:2]] == [network_first] * 2
    assert told(first + rest) == told(reports)
    for name in ("last", "best"):
        one, other = (load_trained(getattr(each, name))[0].get_classifier() for each in (whole, changed))
        assert_same(one.state_dict(), other.state_dict())


@pytest.mark.parametrize("norm_stats", ["batch", "frozen"])
@pytest.mark.parametrize("average", [None, 0.9])
@pytest.mark.parametrize("plan", PLANS)
def test_what_is_left_out_is_what_stands_still_and_an_interrupted_trial_equals_one_that_was_not(
    plan: str,
    average: float | None,
    norm_stats: str,
    warmed: Path,
    config: Callable[..., TrialConfig],
    folders: Callable[[str], TrialFolders],
    live: dict[int, dict[str, dict[str, Tensor]]],
) -> None:
    trial = config(warmed, **PLANS[plan], ema_decay=average, norm_stats=norm_stats)
    whole, reports = folders("whole"), []
    for report in train(trial, whole):
        reports.append(report)
        shutil.copytree(whole.checkpoints.parent, whole.checkpoints.parent.with_name(f"after{report.epoch}"))
        names, everything = changing(trial, report.epoch), set(live[report.epoch]["last"])
        assert set(load_file(whole.last / "model.safetensors")) == names
        assert (CheckpointState.read(whole.last).frozen_digest is None) == (names == everything)
        if average is not None:
            expected = {"n_averaged", *(f"module.{name}" for name in names)}
            assert set(load_file(whole.last / "ema.safetensors")) == expected
        assert_same(load_trained(whole.last)[0].state_dict(), live[report.epoch]["last"])
        if report.checkpoint == "best":
            assert_same(load_trained(whole.best)[0].state_dict(), live[report.epoch]["best"])

    for epoch in range(1, len(reports)):
        resumed = folders(f"after{epoch}")
        assert told(list(train(trial, resumed, resume_from=resumed.last))) == told(reports[epoch:])
        assert_same_files(resumed.last, whole.last)
        assert_same_files(resumed.best, whole.best)
        assert pq.read_table(resumed.predictions).equals(pq.read_table(whole.predictions))


@pytest.mark.parametrize("plan", ["head", "gradual"])
def test_a_checkpoint_of_an_older_version_which_holds_everything_is_read_and_resumed(
    plan: str,
    warmed: Path,
    config: Callable[..., TrialConfig],
    folders: Callable[[str], TrialFolders],
    live: dict[int, dict[str, dict[str, Tensor]]],
) -> None:
    trial = config(warmed, **PLANS[plan], ema_decay=0.9)
    whole, older = folders("whole"), folders("older")
    reports = list(train(trial, whole))
    epochs = train(trial, older)
    next(epochs)
    epochs.close()
    average = load_file(older.last / "ema.safetensors")
    full = {f"module.{name}": tensor for name, tensor in live[1]["best"].items()} | average
    for folder, part in ((older.best, "best"), (older.last, "last")):
        state = CheckpointState.read(folder).model_copy(update={"frozen_digest": None})
        rest = (load_file(folder / "optimizer.safetensors"), full) if part == "last" else ()
        save_checkpoint(folder, live[1][part], state, *rest)
        assert "frozen_digest" not in json.loads((folder / "state.json").read_text())
        assert_same(load_trained(folder)[0].state_dict(), live[1][part])
    assert told(list(train(trial, older, resume_from=older.last))) == told(reports[1:])
    assert_same_files(older.last, whole.last)


TRAIN = """
import sys
from pathlib import Path
import torch
from trainables.config import TrialConfig
from trainables.data.arrays import Arrays
from trainables.data.node_cache import NodeCache
from trainables.loop.train import train
from trainables.storage.folders import TrialFolders

torch.set_num_threads(1)
root, cache = Path(sys.argv[2]), Path(sys.argv[3])
config = TrialConfig.model_validate_json(sys.argv[1])
for report in train(config, TrialFolders(root / "checkpoints", root / "predictions.parquet", cache)):
    print(report.epoch, flush=True)
"""


def test_a_killed_trial_is_resumed_as_if_it_had_not_been(
    warmed: Path,
    config: Callable[..., TrialConfig],
    folders: Callable[[str], TrialFolders],
    tmp_path: Path,
    cache_dir: Path,
) -> None:
    trial = config(warmed, **PLANS["gradual"], epochs=30)
    arguments = [json.dumps(trial.to_json()), str(tmp_path / "killed"), str(cache_dir)]
    with subprocess.Popen([sys.executable, "-c", TRAIN, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while process.stdout.readline().strip() != "2":
            assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
    whole, killed = folders("whole"), folders("killed")
    reports = list(train(trial, whole))
    done = CheckpointState.read(killed.last).reports
    assert 2 <= len(done) < len(reports)
    assert told([*done, *train(trial, killed, resume_from=killed.last)]) == told(reports)
    assert_same_files(killed.last, whole.last)
    assert_same_files(killed.best, whole.best)


def test_weights_that_have_changed_are_told_by_their_file(
    weights: Path, config: Callable[..., TrialConfig], folders: Callable[[str], TrialFolders], cache_dir: Path
) -> None:
    trial, own = config(weights), folders("trial")
    epochs = train(trial, own)
    next(epochs)
    epochs.close()
    tensors = load_file(weights)
    tensors["bn1.running_mean"][0] += 1e-3
    weights.unlink()
    save_file(tensors, weights)
    told = rf"{weights}: must be as they were when the trial of {own.best} started from them, .*; restore them"
    with pytest.raises(InvalidInput, match=told):
        load_trained(own.best)
    with pytest.raises(InvalidInput, match=told):
        evaluate_checkpoint(own.best, "val", cache_dir)
    with pytest.raises(InvalidInput, match=rf"{weights}: must be as they were when the trial of {own.last} started"):
        next(train(trial, own, resume_from=own.last))
    tensors["bn1.running_mean"][0] -= 1e-3
    weights.unlink()
    with pytest.raises(
        InvalidInput,
        match=rf"checkpoint {own.best} holds only what was trained, and needs the weights .*: weights file must exist, "
        rf"got none at {weights}; ",
    ):
        load_trained(own.best)


def test_a_checkpoint_on_weights_of_the_hub_is_completed_from_there(
    config: Callable[..., TrialConfig],
    folders: Callable[[str], TrialFolders],
    live: dict[int, dict[str, dict[str, Tensor]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "hub" / "models--timm--resnet10t.c3_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    (repository / "snapshots" / ("0" * 40)).mkdir(parents=True)
    save_file(bare_model("resnet10t", 1000).state_dict(), repository / "snapshots" / ("0" * 40) / "model.safetensors")
    own = folders("trial")
    list(train(config(Path("pretrained"), architecture="resnet10t", epochs=1), own))
    assert set(load_file(own.best / "model.safetensors")) == {"fc.weight", "fc.bias"}
    assert_same(load_trained(own.best)[0].state_dict(), live[1]["best"])
    shutil.rmtree(repository)
    with pytest.raises(InvalidInput, match=rf"checkpoint {own.best} holds only what was trained, .* for resnet10t, "):
        load_trained(own.best)


def test_a_tensor_that_the_checkpoint_has_lost_is_missed(
    warmed: Path, config: Callable[..., TrialConfig], folders: Callable[[str], TrialFolders]
) -> None:
    own = folders("trial")
    list(train(config(warmed, epochs=1), own))
    (own.last / "model.safetensors").unlink()
    save_file({"classifier.weight": torch.zeros(3, 256)}, own.last / "model.safetensors")
    with pytest.raises(InvalidInput, match="must be as they were when the trial"):
        load_trained(own.last)


def test_a_whole_copy_needs_no_other_file(
    weights: Path, config: Callable[..., TrialConfig], folders: Callable[[str], TrialFolders]
) -> None:
    own = folders("trial")
    list(train(config(weights, epochs=1), own))
    expected = load_trained(own.best)[0].state_dict()
    shared = load_file(own.last / "model.safetensors")
    make_whole(own.best)
    assert_same(load_file(own.last / "model.safetensors"), shared)
    weights.unlink()
    assert_same(load_trained(own.best)[0].state_dict(), expected)
    written = (own.best / "model.safetensors").stat().st_mtime_ns
    make_whole(own.best)
    assert (own.best / "model.safetensors").stat().st_mtime_ns == written, "it was whole"


@pytest.mark.parametrize("given", ["best", "best/model.safetensors"])
def test_a_checkpoint_is_the_weights_of_another_trial(
    given: str, weights: Path, config: Callable[..., TrialConfig], folders: Callable[[str], TrialFolders]
) -> None:
    own, next_one = folders("first"), folders("second")
    list(train(config(weights, epochs=1), own))
    expected = load_trained(own.best)[0].state_dict()
    second = config(own.checkpoints / given, epochs=1, strategy="partial", trainable_stages=1)
    assert_same(build_model(second, 3).state_dict(), expected)
    assert set(source_digests([second])) == {str(own.best / "model.safetensors"), str(weights)}
    list(train(second, next_one))
    trained = load_trained(next_one.best)[0].state_dict()
    assert_same(
        {name: trained[name] for name in ("conv_stem.weight",)}, {"conv_stem.weight": expected["conv_stem.weight"]}
    )

    tensors = load_file(weights)
    tensors["conv_stem.weight"][0] += 1
    save_file(tensors, weights)
    changed = rf"{weights}: must be as they were when the trial of {own.best} started from them, .*; restore them"
    with pytest.raises(InvalidInput, match=changed):
        build_model(second, 3)
    with pytest.raises(InvalidInput, match=changed):
        load_trained(next_one.best)
    (own.best / "model.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(InvalidInput, match=r"weights must be a .safetensors file, got .*best/model.safetensors"):
        build_model(second, 3)
    weights.unlink()
    with pytest.raises(InvalidInput, match=rf"best/model.safetensors holds only what was trained.*none at {weights}"):
        build_model(second, 3)
