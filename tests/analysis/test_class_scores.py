import os
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from analysis.class_scores import class_scores
from analysis.run_folder import RunFolder


def written(folder: Path, columns: dict[str, list[Any]]) -> Path:
    path = folder / "predictions" / "0000.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


LABELS = {"label": ["cat", "cat", "cat", "dog", "dog"], "predicted": ["cat", "cat", "dog", "dog", "cat"]}


def test_scores_and_confusions_are_those_of_the_predictions(tmp_path: Path) -> None:
    outputs = {f"p({name})": [0.5] * 5 for name in ("dog", "cat", "p(emu)")}
    scores = class_scores(RunFolder(tmp_path), written(tmp_path, {**LABELS, **outputs}))
    assert scores is not None
    assert scores.rows == (
        ("dog", 0.5, 0.5, 0.5, 2),
        ("cat", pytest.approx(2 / 3), pytest.approx(2 / 3), pytest.approx(2 / 3), 3),
        ("p(emu)", 0.0, 0.0, 0.0, 0),
    ), "in the order of the outputs, a class without images too"
    assert set(scores.confusions) == {("cat", "cat", 2), ("cat", "dog", 1), ("dog", "dog", 1), ("dog", "cat", 1)}


def test_without_outputs_the_classes_are_those_that_occur(tmp_path: Path) -> None:
    scores = class_scores(RunFolder(tmp_path), written(tmp_path, LABELS))
    assert scores is not None
    assert [row[0] for row in scores.rows] == ["cat", "dog"]


@pytest.mark.timeout(20)
def test_predictions_that_cannot_be_used_have_no_scores(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert class_scores(run, tmp_path / "none.parquet") is None
    assert class_scores(run, written(tmp_path, {"path": ["a"], "boxes": [1]})) is None
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    assert class_scores(run, tmp_path / "broken.parquet") is None
    os.mkfifo(tmp_path / "pipe.parquet")
    assert class_scores(run, tmp_path / "pipe.parquet") is None


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), min_size=1, max_size=40))
def test_the_scores_are_those_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    labels, predicted = map(list, zip(*pairs, strict=True))
    outputs = {f"p({name})": [0.5] * len(pairs) for name in "abcde"}
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), {"label": labels, "predicted": predicted, **outputs})
        scores = class_scores(RunFolder(Path(folder)), path)
    assert scores is not None
    theirs = precision_recall_fscore_support(labels, predicted, labels=[*"abcde"], zero_division=0.0)
    for row, *values in zip(scores.rows, *theirs, strict=True):
        assert row[1:] == pytest.approx(tuple(values), abs=1e-12)
    counts = confusion_matrix(labels, predicted, labels=[*"abcde"])
    assert {(ord(a) - 97, ord(b) - 97): n for a, b, n in scores.confusions} == {
        (i, j): counts[i, j] for i in range(5) for j in range(5) if counts[i, j]
    }
