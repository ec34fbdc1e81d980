import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.cluster.node_checks import NODE_PACKAGES
from orchestrator.driver.node_requirements import CHECKED_IMAGES, ask_for_sweep, make_node_question
from orchestrator.spec.sweep_spec import SweepSpec
from search_spaces.errors import InvalidInput
from trainables.data.readers import open_dataset
from trainables.storage.place import as_place

Spec = Callable[..., SweepSpec]


def test_without_a_sweep_versions_and_the_cache_are_asked_for(cache_dir: Path) -> None:
    question = make_node_question(None, None, None)
    assert (question.packages, question.cache) == (NODE_PACKAGES, str(cache_dir))
    assert (question.folders, question.run, question.images, question.devices) == ({}, None, {}, False)


def test_everything_that_the_trials_read_and_write_is_asked_for(small_spec: Spec, tmp_path: Path) -> None:
    space = {
        "weights": {"choice": ["none", "mine.safetensors"]},
        "strategy": {"choice": ["head", "full"]},
        "lr": {"log": [1e-4, 1e-2]},
    }
    spec = small_spec(
        data={"root": "photos", "manifest": "all.csv"},
        trial={"epochs": 6, "architecture": "resnet18"},
        space=space,
        storage={"cache_dir": "cache"},
        resources={"gpus_per_worker": 0.5},
    )
    question = make_node_question(spec, spec.run_root, None)
    mine = str(tmp_path / "mine.safetensors")
    assert question.folders == {
        "data.root": str(tmp_path / "photos"),
        "data.manifest": str(tmp_path / "all.csv"),
        f"weights {mine}": mine,
    }
    assert (question.cache, question.run) == (str(tmp_path / "cache"), str(tmp_path / "runs" / "small"))
    assert question.devices
    assert question.token != make_node_question(spec, spec.run_root, None).token, (
        "two drivers do not take each other's file"
    )


def test_a_run_in_a_bucket_is_no_folder_that_nodes_share(small_spec: Spec) -> None:
    question = make_node_question(small_spec(), as_place("s3://bucket/runs/small"), None)
    assert question.run is None
    assert question.buckets == {"storage.root": "s3://bucket/runs/small"}


def test_some_images_of_each_split_are_asked_for_with_their_sizes(small_spec: Spec, digits: Path) -> None:
    images = make_node_question(small_spec(), None, open_dataset(digits)).images
    assert CHECKED_IMAGES <= len(images) < 2 * CHECKED_IMAGES
    assert all(Path(path).is_absolute() and Path(path).stat().st_size == size for path, size in images.items())
    assert {Path(path).relative_to(digits).parts[0] for path in images} == {"train", "val", "test"}


def test_files_that_hold_images_are_asked_for_in_their_place(small_spec: Spec, digits: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        tar.add(digits, arcname=".")
    dataset = open_dataset(tmp_path / "photos.tar", cache=tmp_path / "cache")
    images = make_node_question(small_spec(), None, dataset).images
    assert images == {str(tmp_path / "photos.tar"): (tmp_path / "photos.tar").stat().st_size}


def test_photos_in_a_bucket_are_no_folder_of_a_node(small_spec: Spec) -> None:
    data = {"root": "s3://bucket/photos", "weights_dir": "s3://bucket/weights"}
    question = make_node_question(small_spec(data=data), None, None)
    assert question.folders == {}
    assert question.buckets == {"data.root": data["root"], "data.weights_dir": data["weights_dir"]}


def test_ray_is_started_from_the_run_s_folder_or_from_one_that_is_gone_afterwards(
    small_spec: Spec, digits: Path
) -> None:
    spec = small_spec(data={"root": str(digits)})
    with ask_for_sweep(spec) as (question, folder):
        assert question.images
        assert folder == spec.run_root
        assert not folder.exists(), "to ask makes no run"
    with ask_for_sweep(None) as (question, folder):
        assert folder.is_dir()
    assert not folder.exists()


def test_a_data_set_that_cannot_be_read_is_refused(small_spec: Spec) -> None:
    with pytest.raises(InvalidInput, match="photos"), ask_for_sweep(small_spec()):
        pytest.fail("there are no photos")
