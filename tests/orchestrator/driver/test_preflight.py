import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from analysis.claim import claim_run
from analysis.heartbeat import read
from analysis.ledger import write_record
from analysis.run_folder import RunFolder
from orchestrator.driver.preflight import check_fresh, check_inputs, check_plans, preflight
from orchestrator.spec.sweep_spec import SweepSpec
from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig
from trainables.model.build import bare_model
from trainables.storage.bucket import BucketPath


def config(architecture: str, **changes: object) -> TrialConfig:
    values = {"data": {"root": "photos"}, "strategy": "head", "weights": "none", "epochs": 6, "lr": 0.01}
    return TrialConfig.model_validate({**values, "architecture": architecture, **changes})


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes, two splits, four grey images."""
    for number, split in enumerate(("train", "val")):
        for shade, name in ((number, "night"), (255 - number, "day")):
            path = tmp_path / "photos" / split / name / "one.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(np.full((32, 32, 3), shade, np.uint8)).save(path)
    return tmp_path / "photos"


def test_images_beyond_the_budget_are_looked_at_all_the_same(photos: Path, tmp_path: Path) -> None:
    trial = {"architecture": "test_efficientnet", "weights": "none", "strategy": "head", "epochs": 1, "lr": 0.1}
    storage = {"cache_dir": str(tmp_path / "cache"), "cache_budget": 100}
    (photos / "val" / "day" / "one.png").write_bytes(b"not an image")
    spec = SweepSpec.model_validate({"name": "s", "data": {"root": photos}, "storage": storage, "trial": trial})
    with pytest.raises(InvalidInput, match=r"val/day/one.png: image must be complete"):
        check_inputs(spec)


def test_a_run_folder_is_new_or_empty(tmp_path: Path) -> None:
    check_fresh(tmp_path / "new")
    check_fresh(tmp_path)
    assert not (tmp_path / "new").exists()
    (tmp_path / "run.json").touch()
    with pytest.raises(InvalidInput, match=f"got {tmp_path}, which is not empty; go on with `thaw resume {tmp_path}`"):
        check_fresh(tmp_path)
    with pytest.raises(InvalidInput, match=r"run folder must be new, got .*, which is a file; choose another name"):
        check_fresh(tmp_path / "run.json")


def test_a_launch_that_was_killed_before_the_run_was_written_may_be_repeated(tmp_path: Path) -> None:
    claim = claim_run(RunFolder(tmp_path), None)
    assert claim is not None
    (tmp_path / "sweep.yaml").write_text("name: sweep")
    with pytest.raises(InvalidInput, match="must have one driver"):
        check_fresh(tmp_path)
    driver = read(tmp_path)
    assert driver is not None
    write_record(claim.run.heartbeat, driver.model_copy(update={"since_boot": 0.0}))  # its process is gone
    for name in ("warm_start.json", ".run.json.0123abc.tmp", "stop"):
        (tmp_path / name).touch()
    assert check_fresh(tmp_path) is not None
    (tmp_path / "run.json").touch()
    with pytest.raises(InvalidInput, match="run folder must be new"):
        check_fresh(tmp_path)


def test_a_sweep_file_of_the_user_is_no_launch(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").touch()
    with pytest.raises(InvalidInput, match="run folder must be new"):
        check_fresh(tmp_path)


def test_plans_that_fit_the_model_pass() -> None:
    plans = [{"strategy": "partial", "trainable_stages": 3}, {"strategy": "progressive", "unfreeze_epoch": 2}]
    check_plans([config("resnet10t", **plan) for plan in plans], ("a", "b"), 100, 1)


def test_a_step_of_one_value_is_refused_before_the_first_trial() -> None:
    narrow = config("resnet10t", strategy="full", batch_size=3, data={"root": "photos", "image_size": 32})
    check_plans([narrow], ("a", "b"), 9, 1)
    with pytest.raises(InvalidInput, match=r"batch_size: 3, 2 workers for 9 images of train: .*; set batch_size: 5, a"):
        check_plans([narrow], ("a", "b"), 9, 2)


def test_more_stages_than_the_model_has_are_refused_with_its_name() -> None:
    with pytest.raises(
        InvalidInput, match=r"resnet10t: trainable_stages must be below .*, got 9 of 5; use strategy full"
    ):
        check_plans([config("resnet10t", strategy="partial", trainable_stages=9)], ("a", "b"), 100, 1)


def test_an_architecture_that_does_not_exist_is_refused_with_the_closest() -> None:
    with pytest.raises(InvalidInput, match="architecture must be a timm model name, got 'resnet10x'; did you mean"):
        check_plans([config("resnet10x")], ("a", "b"), 100, 1)


def small_sweep(photos: Path, small_spec: Callable[..., SweepSpec], **changes: object) -> SweepSpec:
    trial = {"epochs": 2, "architecture": "resnet10t", "weights": "none", "strategy": "head"}
    sections = {"data": {"root": "photos", "image_size": 32}, "storage": {"cache_dir": "cache"}, "trial": trial}
    return small_spec(**{**sections, "space": {"lr": {"log": [1e-3, 1e-1]}}, **changes})


def test_preflight_opens_the_data_and_leaves_no_run_behind(photos: Path, small_spec: Callable[..., SweepSpec]) -> None:
    spec = small_sweep(photos, small_spec)
    steps: list[tuple[int, int]] = []
    arrays = preflight(spec, lambda done, total: steps.append((done, total)))
    assert arrays.classes == ("day", "night")
    assert steps
    assert not spec.run_root.exists()
    assert any((photos.parent / "cache").iterdir())


def test_weights_of_a_bucket_are_fetched_before_the_first_model(
    photos: Path, small_spec: Callable[..., SweepSpec], bucket: str
) -> None:
    def sweep(folder: str) -> SweepSpec:
        trial = {"epochs": 2, "architecture": "resnet10t", "weights": "pretrained", "strategy": "head"}
        return small_sweep(
            photos, small_spec, data={"root": "photos", "image_size": 32, "weights_dir": folder}, trial=trial
        )

    with pytest.raises(InvalidInput, match=r"^data.weights_dir: s3://no-such-bucket-here/w: .*correct its name"):
        check_inputs(sweep("s3://no-such-bucket-here/w"))
    with pytest.raises(InvalidInput, match=rf"weights file must exist, got none at {bucket}/w/resnet10t.safetensors"):
        check_inputs(sweep(f"{bucket}/w"))
    save_file(bare_model("resnet10t", 3).state_dict(), photos / "w")
    BucketPath.parse(f"{bucket}/w/resnet10t.safetensors").upload(photos / "w")
    steps: list[tuple[int, int]] = []
    check_inputs(sweep(f"{bucket}/w"), lambda *step: steps.append(step))
    assert steps[-1] == (1, 1)
    assert [*(photos.parent / "cache" / "sources").glob("*/files/resnet10t.safetensors")]


def test_weights_by_order_must_beat_random_ones(photos: Path, small_spec: Callable[..., SweepSpec]) -> None:
    tensors = bare_model("resnet10t", 2, seed=9).state_dict().values()
    torch.save({f"{number}": tensor for number, tensor in enumerate(tensors)}, photos / "w.pth")
    weights = {"weights": str(photos / "w.pth"), "weights_layout": "by_order"}
    trial = {"epochs": 2, "architecture": "resnet10t", "strategy": "head", **weights}
    with pytest.raises(
        InvalidInput, match=r"weights that beat random ones on a linear probe, got val/macro_f1 .*w.pth"
    ):
        check_inputs(small_sweep(photos, small_spec, trial=trial))


def test_preflight_decodes_test_too_and_a_run_that_goes_on_does_not(
    photos: Path, small_spec: Callable[..., SweepSpec]
) -> None:
    for name in ("night", "day"):
        (photos / "test" / name).mkdir(parents=True)
        (photos / "test" / name / "one.png").write_bytes(b"not an image")
    spec = small_sweep(photos, small_spec)
    with pytest.raises(InvalidInput, match=r"got 2 that are not; (?s:.*)test/day/one.png: (?s:.*)test/night/one.png: "):
        preflight(spec)
    # What such a run began with before the preflight looked at test must not end it.
    assert list(check_inputs(spec).splits) == ["train", "val"]
    without = small_sweep(photos, small_spec, data={"root": "photos", "image_size": 32, "test": "none"})
    assert list(preflight(without).splits) == ["train", "val"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"root": "elsewhere"}}, "elsewhere"),
        ({"storage": {"cache_dir": "photos/val/day/one.png"}}, r"storage.cache_dir must be .*one.png is no folder"),
        ({"storage": {"root": "photos/val/day/one.png/runs"}}, r"storage.root must be .*one.png is no folder"),
        (
            {"trial": {"epochs": 2, "architecture": "resnet10t", "weights": "w.safetensors", "strategy": "head"}},
            "w.safe",
        ),
        ({"space": {"lr": {"log": [1e-3, 1]}, "weights": {"choice": ["none", "v.safetensors"]}}}, "v.safetensors"),
        (
            {
                "space": {
                    "lr": {"log": [1e-3, 1]},
                    "strategy": {"choice": ["head", "partial"]},
                    "trainable_stages": {"int": [1, 8], "when": {"strategy": "partial"}},
                }
            },
            "resnet10t: trainable_stages must be below",
        ),
    ],
)
def test_what_no_trial_could_use_is_refused(
    photos: Path, small_spec: Callable[..., SweepSpec], changes: dict[str, object], message: str
) -> None:
    trial = {"epochs": 2, "architecture": "resnet10t", "weights": "none", "strategy": "head"}
    space = changes.get("space")
    if isinstance(space, dict):
        changes = {**changes, "trial": {key: value for key, value in trial.items() if key not in space}}
    spec = small_sweep(photos, small_spec, **changes)
    with pytest.raises(InvalidInput, match=message):
        preflight(spec)
    assert not spec.run_root.exists()


def test_equal_files_are_refused_in_a_new_sweep_alone(photos: Path, small_spec: Callable[..., SweepSpec]) -> None:
    shutil.copy(photos / "train" / "day" / "one.png", photos / "val" / "day" / "again.png")
    spec = small_sweep(photos, small_spec)
    with pytest.raises(InvalidInput, match=r"1 in both train and val; .*`thaw data check .*`.* `data.allow: \[dupl"):
        preflight(spec)
    assert check_inputs(spec).duplicates is not None, "a run that has begun goes on"
    data = {"root": "photos", "image_size": 32, "allow": ["duplicates"]}
    assert "byte for byte" in str(preflight(small_sweep(photos, small_spec, data=data)).duplicates)
