import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.task.calibration import Calibration, fit_calibration, fit_temperature
from trainables.task.classification_scores import calibration_error, probabilities

CLASSES = 5


def drawn(count: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from their softmax at a temperature."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 3, (count, CLASSES)).astype(np.float32)
    chances = probabilities(logits / temperature)
    return logits, np.array([generator.choice(CLASSES, p=row) for row in chances])


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.5])
def test_the_temperature_of_the_labels_is_found(temperature: float) -> None:
    found = fit_calibration(*drawn(4000, temperature))
    assert found.temperature == pytest.approx(temperature, rel=0.08)
    assert found.after.value < 0.025
    assert found.after.value < found.before.value or temperature == 1
    assert found.before.interval.low <= found.before.value <= found.before.interval.high


def test_the_error_afterwards_is_that_of_images_that_chose_nothing() -> None:
    logits, labels = drawn(60, 2.5)
    found = fit_calibration(logits, labels)
    assert found.before.value == pytest.approx(calibration_error(logits, labels))
    assert found.after.value != pytest.approx(calibration_error(logits / found.temperature, labels), abs=1e-6)


def test_images_that_are_all_right_make_no_answer_certain() -> None:
    logits = np.eye(3, dtype=np.float32)[np.arange(30) % 3]
    found = fit_calibration(logits, np.arange(30) % 3)
    assert 0.9 < probabilities(logits / found.temperature).max() < 0.99
    assert [each.accuracy for each in found.coverages] == [1.0] * len(found.coverages)


def test_unsure_answers_are_withheld_from_the_least_sure_on() -> None:
    logits, labels = drawn(3000, 1.5)
    found = fit_calibration(logits, labels)
    assert [each.coverage for each in found.coverages] == pytest.approx([1, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5], abs=2e-3)
    assert [each.min_confidence for each in found.coverages] == sorted(each.min_confidence for each in found.coverages)
    assert found.coverages[-1].accuracy > found.coverages[0].accuracy + 0.1
    chances = probabilities(logits.astype(float) / found.temperature)
    sure = chances.max(axis=1) >= found.coverages[3].min_confidence
    assert sure.mean() == found.coverages[3].coverage
    assert (chances.argmax(axis=1) == labels)[sure].mean() == found.coverages[3].accuracy


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 99))
def test_any_logits_have_a_calibration_in_json(count: int, classes: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    found: Calibration = fit_calibration(
        generator.normal(0, 30, (count, classes)).astype(np.float32), generator.integers(0, classes, count)
    )
    assert 0.05 <= found.temperature <= 20
    assert 0 <= found.after.value <= 1
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["images"] == count


def test_a_model_that_is_sure_and_wrong_gets_a_high_temperature() -> None:
    logits = np.eye(2, dtype=np.float32)[np.zeros(40, dtype=int)] * 20
    assert fit_temperature(logits, np.arange(40) % 2) > 10
