import time
from collections.abc import Callable
from pathlib import Path

import pytest

from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig
from trainables.data import recent_arrays as module
from trainables.data.digits import write_digits
from trainables.data.recent_arrays import recent_arrays


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let time pass."""
    module._last.clear()
    passed = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda now=time.monotonic: now() + passed[0])

    def wait(seconds: float) -> None:
        passed[0] += seconds

    return wait


@pytest.fixture
def config(tmp_path: Path, trial_config: Callable[..., TrialConfig]) -> TrialConfig:
    write_digits(tmp_path / "digits", keep={**dict.fromkeys(range(10), 0.0), 0: 0.1, 1: 0.1})
    return trial_config(data={"root": tmp_path / "digits"})


def test_the_same_data_set_is_not_looked_at_again_at_once(
    config: TrialConfig, tmp_path: Path, clock: Callable[[float], None]
) -> None:
    first = recent_arrays(config.data, tmp_path / "cache")
    assert recent_arrays(config.data, tmp_path / "cache") is first
    clock(61)
    assert recent_arrays(config.data, tmp_path / "cache") is not first


def test_images_that_change_are_seen_within_a_minute(
    config: TrialConfig, tmp_path: Path, clock: Callable[[float], None]
) -> None:
    first = recent_arrays(config.data, tmp_path / "cache")
    one, other, *_ = sorted((tmp_path / "digits" / "train").rglob("*.png"))
    one.write_bytes(other.read_bytes())
    clock(61)
    assert recent_arrays(config.data, tmp_path / "cache").fingerprints.trained != first.fingerprints.trained


def test_other_settings_of_the_data_are_another_data_set(
    config: TrialConfig, tmp_path: Path, clock: Callable[[float], None]
) -> None:
    first = recent_arrays(config.data, tmp_path / "cache")
    larger = config.data.model_copy(update={"image_size": 40})
    assert recent_arrays(larger, tmp_path / "cache").splits["train"].images.shape[1] == 40
    assert recent_arrays(config.data, tmp_path / "cache") is not first


def test_an_error_is_raised_again(config: TrialConfig, tmp_path: Path, clock: Callable[[float], None]) -> None:
    missing = config.data.model_copy(update={"root": tmp_path / "missing"})
    for _ in range(2):
        with pytest.raises(InvalidInput, match="missing"):
            recent_arrays(missing, tmp_path / "cache")
