import re
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.cluster import doctor
from orchestrator.cluster.doctor import CHECKED_PACKAGES, Check, examine, examine_data
from orchestrator.spec.sweep_spec import SweepSpec
from trainables.storage.place import as_place


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_this_environment_is_examined_and_nothing_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    checks = examine(cache=tmp_path / "a" / "cache", storage=tmp_path / "runs")
    found = by_name(checks)
    assert [check.name for check in checks] == ["python", *CHECKED_PACKAGES, "cpu", "gpu", "cache", "storage", "wandb"]
    assert found["python"].ok
    assert all(check.ok and check.found[0].isdigit() for check in checks[: 1 + len(CHECKED_PACKAGES)])
    assert found["wandb"].found == "offline"
    assert "wandb login" in found["wandb"].remedy
    assert str(tmp_path / "a" / "cache") in found["cache"].found
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_has_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECKED_PACKAGES", ("no-such-package",))
    check = by_name(examine())["no-such-package"]
    assert (check.ok, check.found, check.remedy) == (False, "not installed", "install thaw[train]")


def test_a_file_where_the_folder_should_be_is_not_ready(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    check = by_name(examine(cache=tmp_path, storage=tmp_path / "runs"))["storage"]
    assert not check.ok
    assert f"make {tmp_path / 'runs'} a writable folder" in check.remedy


def test_a_full_disk_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ENOUGH_DISK_GB", 10**9)
    check = by_name(examine(cache=tmp_path))["cache"]
    assert not check.ok
    assert check.remedy.startswith("free some space")


def test_a_bucket_is_tried(bucket: str) -> None:
    there, missing = (
        next(check for check in examine(storage=as_place(place)) if check.name == "storage")
        for place in (f"{bucket}/runs", f"{bucket}-other/runs")
    )
    assert there.ok
    assert there.found == f"{bucket}/runs, may be written"
    assert not missing.ok
    assert "create the bucket, or correct its name" in missing.remedy


def test_the_photos_and_weights_of_a_sweep_are_looked_for(
    small_spec: Callable[..., SweepSpec], tmp_path: Path, digits: Path
) -> None:
    trial = {"architecture": "resnet18", "weights": "pretrained", "strategy": "head", "epochs": 1}
    space = {"lr": {"log": [1e-3, 1e-2]}}
    data = {"root": str(digits), "weights_dir": str(tmp_path), "image_size": 32}
    spec = small_spec(data=data, trial=trial, space=space)
    found = by_name(examine_data(spec.data, spec.corner_configs()))
    assert found["data"].ok
    assert re.fullmatch(rf"{digits}, \d+ classes, images: \d+ train, \d+ val.*", found["data"].found)
    path = tmp_path / "resnet18.safetensors"
    assert (found["weights"].ok, found["weights"].found) == (False, str(path))
    assert found["weights"].remedy.startswith(f"weights file must exist, got none at {path}")
    path.touch()
    data["root"] = str(tmp_path / "none")
    spec = small_spec(data=data, trial=trial, space=space)
    checks = examine_data(spec.data, spec.corner_configs())
    expected = [("data", False, data["root"]), ("weights", True, str(path))]
    assert [(check.name, check.ok, check.found) for check in checks] == expected
    assert data["root"] in checks[0].remedy


def test_weights_of_a_bucket_are_looked_for(small_spec: Callable[..., SweepSpec], bucket: str, digits: Path) -> None:
    trial = {"architecture": "resnet18", "weights": "pretrained", "strategy": "head", "epochs": 1}
    for folder, said in ((bucket, "the folder holds no weights"), (f"{bucket}-other", "create the bucket")):
        data = {"root": str(digits), "weights_dir": f"{folder}/w", "image_size": 32}
        spec = small_spec(data=data, trial=trial, space={"lr": {"log": [1e-3, 1e-2]}})
        check = by_name(examine_data(spec.data, spec.corner_configs()))["weights"]
        assert (check.ok, check.found) == (False, f"{folder}/w/resnet18.safetensors")
        assert said in check.remedy
