from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import save_file

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.driver.preflight import check_inputs
from orchestrator.driver.resume_checks import budget_meter, check_resumable
from orchestrator.driver.sweep import space_record
from orchestrator.spec.sweep_spec import SweepSpec
from search_spaces.errors import InvalidInput
from trainables.model.build import bare_model
from trainables.result import TrialResult
from trainables.status import Status

Trial = Callable[..., TrialResult]
NAMED = Path("runs/small")


@pytest.fixture
def spec(small_spec: Callable[..., SweepSpec], few_images: Path) -> Callable[..., SweepSpec]:
    def make(**sections: object) -> SweepSpec:
        data = {"root": str(few_images), "image_size": 32}
        trial = {"epochs": 6, "architecture": "test_efficientnet", "weights": "none"}
        return small_spec(data=data, trial=trial, **sections)

    return make


@pytest.fixture
def few_images(tmp_path: Path, cache_dir: Path) -> Path:
    for number, (split, name) in enumerate((s, c) for s in ("train", "val") for c in ("a", "b")):
        path = tmp_path / "photos" / split / name / "1.png"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (32, 32), (number * 50, 0, 0)).save(path)
    return tmp_path / "photos"


@pytest.fixture
def begun(empty_run: RunFolder, spec: Callable[..., SweepSpec]) -> Ledger:
    """A run that has begun with the images that are there."""
    ledger = Ledger(empty_run)
    ledger.update_run(fingerprint=check_inputs(spec()).fingerprints.trained)
    return ledger


def test_a_run_is_resumed_with_the_images_it_began_with(begun: Ledger, spec: Callable[..., SweepSpec]) -> None:
    arrays = check_resumable(spec(), begun.run, begun.read_run(), NAMED)
    assert (arrays.classes, arrays.fingerprints.trained) == (("a", "b"), begun.read_run().fingerprint)


def test_other_images_are_refused(begun: Ledger, spec: Callable[..., SweepSpec], few_images: Path) -> None:
    Image.new("RGB", (32, 32), "white").save(few_images / "train" / "a" / "2.png")
    with pytest.raises(InvalidInput, match=r"photos: a run must go on with the images it began with, .*; restore them"):
        check_resumable(spec(), begun.run, begun.read_run(), NAMED)


def test_other_weights_are_refused(
    begun: Ledger, small_spec: Callable[..., SweepSpec], few_images: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "w.safetensors"
    save_file(bare_model("test_efficientnet", 2, seed=0).state_dict(), weights)
    trial = {"epochs": 6, "architecture": "test_efficientnet", "weights": str(weights)}
    spec = small_spec(data={"root": str(few_images), "image_size": 32}, trial=trial)
    check_resumable(spec, begun.run, begun.read_run(), NAMED)  # begun by an older version, without digests
    begun.update_run(**space_record(spec))
    check_resumable(spec, begun.run, begun.read_run(), NAMED)
    save_file(bare_model("test_efficientnet", 2, seed=1).state_dict(), weights)
    with pytest.raises(InvalidInput, match=r"w.safetensors: weights and teachers must be the same .*; restore it, or"):
        check_resumable(spec, begun.run, begun.read_run(), NAMED)


def test_without_budget_a_run_is_resumed_only_where_nothing_is_left(
    begun: Ledger, spec: Callable[..., SweepSpec], trial: Trial
) -> None:
    begun.write_trial(trial("0000", [0.9], Status.COMPLETED))
    used_up = {"budget": {"target": 0.5}}
    with pytest.raises(
        InvalidInput,
        match=r"^runs/small: .*, but budget.target: .*; raise it with `thaw extend runs/small --set budget.t",
    ):
        check_resumable(spec(**used_up, search={"trials": 2}), begun.run, begun.read_run(), NAMED)
    check_resumable(spec(**used_up, search={"trials": 1}), begun.run, begun.read_run(), NAMED)


def test_time_of_earlier_drivers_and_every_gpu_of_a_trial_count(
    begun: Ledger, spec: Callable[..., SweepSpec], trial: Trial
) -> None:
    begun.update_run(driven_seconds=3000.0)
    meter = budget_meter(spec(budget={"wall_clock": "1h"}), begun.read_run(), [])
    assert (meter.exhausted(599), meter.exhausted(600)) == (None, "budget.wall_clock: 1h of 1h are used")
    gpus = spec(budget={"gpu_hours": 0.001}, resources={"workers": 2, "gpus_per_worker": 1})
    assert budget_meter(gpus, begun.read_run(), [trial("0000", [0.1])]).exhausted() is None  # 1.5 s on two GPUs
    assert budget_meter(gpus, begun.read_run(), [trial("0000", [0.1, 0.2])]).exhausted() is not None
