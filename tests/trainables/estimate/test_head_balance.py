from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainables.config import TrialConfig
from trainables.data.arrays import load_arrays
from trainables.estimate import head_balance
from trainables.estimate.head_balance import ANSWERS, compare_answers, head_trial
from trainables.estimate.probe_scores import one_hot


def test_every_answer_is_a_setting_of_trials(trial_config: Callable[..., TrialConfig]) -> None:
    config = head_trial(trial_config(balance="sampler", focal_gamma=1.0))
    assert (config.strategy, config.head_init) == ("head", "random")
    trials = [TrialConfig.model_validate(config.model_dump() | settings) for settings in ANSWERS.values()]
    assert len({trial.model_dump_json() for trial in trials}) == len(ANSWERS)


@pytest.mark.usefixtures("one_thread")
def test_answers_are_measured_side_by_side(
    trial_config: Callable[..., TrialConfig], cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_balance, "SEEDS", (0, 1))
    monkeypatch.setattr(head_balance, "EPOCHS", 2)
    config = head_trial(trial_config())
    arrays = load_arrays(config.data, cache_dir)
    found = compare_answers(config, arrays, cache_dir)
    labels = arrays.dataset.labels("val")
    assert found.val_images == tuple(np.bincount(labels).tolist())
    assert [answer.name for answer in found.answers] == [*ANSWERS]
    assert found.rare == ("0",), "it has a third of the images"
    assert [*found.sampler_against] == [name for name in ANSWERS if name != "sampler"]
    for answer in found.answers:
        assert answer.macro_recall == pytest.approx(np.mean(answer.recall))
        assert answer.rare_recall == pytest.approx(answer.recall[0])
        for recall, bounds, images in zip(answer.recall, answer.intervals, found.val_images, strict=True):
            assert bounds is not None
            assert recall is not None
            assert bounds.low - 0.5 / images <= recall <= bounds.high + 0.5 / images
    none, sampler = found.answers[:2]
    assert sampler.against_none is not None
    assert sampler.against_none.value == pytest.approx((sampler.rare_recall or 0) - (none.rare_recall or 0))
    assert found.sampler_against["none"].value == pytest.approx(sampler.against_none.value)
    assert compare_answers(config, arrays, cache_dir) == found, "seeds decide"


def test_rare_classes_without_validation_images_are_not_compared(
    trial_config: Callable[..., TrialConfig], cache_dir: Path
) -> None:
    arrays = load_arrays(trial_config().data, cache_dir)
    others = tuple(sample for sample in arrays.dataset.splits["val"] if sample.label)
    dataset = replace(arrays.dataset, splits={**arrays.dataset.splits, "val": others})
    right = one_hot([arrays.classes[sample.label] for sample in others], arrays.classes)
    found = head_balance._compared("x", replace(arrays, dataset=dataset), {name: [right] for name in ANSWERS})
    assert found.sampler_against == {}
    assert [answer.rare_recall for answer in found.answers] == [None] * len(ANSWERS)
    assert found.answers[0].recall == (None, 1.0, 1.0)
