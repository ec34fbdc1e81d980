from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from small_weights import ARCHITECTURE, write_weights

from orchestrator.planning.measured_data import measure_data, open_images_of, probed_trials, use_free_cores
from orchestrator.spec.named_data import read_named_data
from search_spaces.errors import BadImages


def silent(*_: object) -> None:
    """Take what is told, and print nothing."""


@pytest.fixture
def few(digits: Path, tmp_path: Path, cache_dir: Path) -> Path:
    """A copy of two classes of the digits, whose files may be damaged."""
    for source in digits.rglob("[01]/*.png"):
        target = tmp_path / "photos" / source.relative_to(digits)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    return tmp_path / "photos"


def test_photos_are_measured_and_probed(few: Path, tmp_path: Path) -> None:
    named = read_named_data(few, weights_dir=write_weights(tmp_path / "weights"))
    opened = open_images_of(named, silent, whole=True)
    assert (opened.named.data.image_size, [*opened.arrays.splits]) == (64, ["train", "val", "test"])
    found = measure_data(opened, silent)
    assert [score.architecture for score in found.probes.scores] == [ARCHITECTURE]
    assert found.recommendation.architectures.value == ARCHITECTURE
    assert found.summary.image_size == 64
    assert measure_data(opened, silent, probe=False).probes.scores == ()


def test_bad_photos_are_left_out_and_named(few: Path) -> None:
    bad = next((few / "train" / "0").iterdir())
    bad.write_bytes(b"no image")
    opened = open_images_of(read_named_data(few), silent)
    assert [*opened.bad_images] == [str(bad)]
    assert opened.named.data.on_bad_image == "skip"
    with pytest.raises(BadImages):
        open_images_of(read_named_data(few, ["data.on_bad_image=fail"]), silent)


def test_a_sweep_is_measured_as_it_says(
    write_sweep: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    file = write_sweep(
        tmp_path,
        trial={"strategy": "head", "epochs": 1, "lr": 1.0, "weights": "pretrained"},
        space={"architecture": {"choice": [ARCHITECTURE, "resnet18"]}, "balance": {"choice": ["loss", "none"]}},
    )
    configs, lacking = probed_trials(read_named_data(file, weights_dir=write_weights(tmp_path / "weights")))
    assert ([config.architecture for config in configs], lacking) == ([ARCHITECTURE], ("resnet18",))
    assert configs[0].balance == "none"
    opened = open_images_of(read_named_data(file), silent)
    assert (opened.named.data.image_size, opened.named.data.resize_mode) == (32, "squash")


def test_the_cores_that_others_use_are_left_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    try:
        monkeypatch.setattr("os.getloadavg", lambda: (1000.0, 0.0, 0.0))
        use_free_cores()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
