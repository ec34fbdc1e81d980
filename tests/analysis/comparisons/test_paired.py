"""Two trials on the same photos; what cannot be compared is in `test_baseline.py`, which asks the same function."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.comparisons.paired import paired_difference
from analysis.run_folder import RunFolder

LABELS = ["a", "b"] * 100


def predictions(run: RunFolder, name: str, wrong: int) -> None:
    """Predictions of a trial that is wrong on the first photos."""
    path = run.predictions(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    other = {"a": "b", "b": "a"}
    predicted = [other[label] if index < wrong else label for index, label in enumerate(LABELS)]
    paths = [f"{index}.jpg" for index in range(len(LABELS))]
    chances = {f"p({name})": [1 / 3] * len(LABELS) for name in "abc"}
    pq.write_table(pa.table({"path": paths, "label": LABELS, "predicted": predicted, **chances}), path)


def test_the_difference_has_a_sign_and_an_interval(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for name, wrong in (("0000", 10), ("0001", 60), ("0002", 10)):
        predictions(run, name, wrong)
    better = paired_difference(run, "0000", "0001", "val/accuracy", 2)
    worse = paired_difference(run, "0001", "0000", "val/accuracy", 2)
    same = paired_difference(run, "0000", "0002", "val/accuracy", 2)
    assert better is not None
    assert worse is not None
    assert same is not None
    assert (better.images, better.difference.value) == (200, pytest.approx(0.25))
    of_two, of_three = (paired_difference(run, "0000", "0001", "val/macro_f1", version) for version in (1, 2))
    assert of_two is not None
    assert of_three is not None
    assert of_three.difference.value == pytest.approx(of_two.difference.value * 2 / 3), "no image of the third class"
    assert worse.difference.value == -better.difference.value
    assert worse.difference.interval.low == pytest.approx(-better.difference.interval.high, abs=0.02)
    assert better.difference.interval.low > 0 > worse.difference.interval.high
    assert np.ptp(same.difference.interval) == 0, "equal on each photo"
    assert paired_difference(run, "0000", "0001", "val/loss", 2) is None, "no bootstrap for it"
    assert paired_difference(run, "0000", "0003", "val/accuracy", 2) is None, "no predictions"
