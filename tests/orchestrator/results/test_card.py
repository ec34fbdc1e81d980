import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from analysis.ledger import Ledger, RunRecord
from analysis.run_folder import RunFolder
from analysis.winner import RETRAIN_JSON
from orchestrator.results.card import CardFacts, model_card
from orchestrator.spec.sweep_spec import SweepSpec
from trainables.bundle.export import ExportBundle
from trainables.bundle.parity import Parity
from trainables.bundle.variants import VariantReport
from trainables.data.preprocess import Preprocessing
from trainables.data.readers import Dataset, Sample
from trainables.interval import Difference, Interval
from trainables.result import TrialResult
from trainables.status import Status
from trainables.task.calibration import fit_calibration
from trainables.task.classification_scores import evaluate_logits

Trial = Callable[..., TrialResult]
CLASSES = ("a|b", "c<d")


@pytest.fixture
def facts(tmp_path: Path, small_spec: Callable[..., SweepSpec], trial: Trial) -> CardFacts:
    run, spec = RunFolder(tmp_path / "runs" / "small"), small_spec()
    record = RunRecord(
        name=spec.name,
        objective=spec.objective,
        space=spec.space,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        classes=CLASSES,
        trials_planned=2,
        distributions={},
        fingerprint="",
        sample_counts={},
        versions={},
        skipped_images={"train": {"photos/odd.jpg": "no image"}},
        data_remarks=("some images are the same byte for byte",),
    )
    Ledger(run).write_run(record)
    winner = trial("0001", [0.5, 0.75], Status.COMPLETED, {"lr": 0.01})
    Ledger(run).write_trial(winner)
    logits, labels = np.eye(2, dtype=np.float32)[[0, 1, 1, 0]], np.array([0, 1, 1, 1])
    bundle = ExportBundle(
        model=run.export / "model.onnx",  # type: ignore[arg-type]
        labels=CLASSES,
        preprocessing=Preprocessing(96, "squash", (0.5,) * 3, (0.5,) * 3),
        config={},
        opset=18,
        parity=Parity(4, 4, 0, 1e-6, 1e-6, 1.0, 1e-3, (1, 3)),
        calibration=json.loads(json.dumps(fit_calibration(logits, labels).to_json())),
    )
    photos = tuple(Sample(f"photos/{name}.jpg", index % 2) for index, name in enumerate("wxyz"))
    dataset = Dataset(tmp_path / "photos", CLASSES, {"train": photos, "val": photos[:3], "test": photos})
    best = {"accuracy": 0.75, "macro_f1": 0.7}
    return CardFacts(run, record, (winner,), "trial 0001, retrained", bundle, (), dataset, best)


def front(card: str) -> dict[str, Any]:
    _, text, _ = card.split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_a_retrained_winner_has_the_values_of_the_test_split(facts: CardFacts) -> None:
    logits, labels = np.eye(2, dtype=np.float32)[[0, 1, 1, 0]], np.array([0, 1, 1, 1])
    test = evaluate_logits(logits, labels, CLASSES, "test").to_json()
    facts.run.winner.mkdir(parents=True)  # type: ignore[union-attr]
    (facts.run.winner / RETRAIN_JSON).write_text(json.dumps({"trial_id": "0001", "test": test}))  # type: ignore[union-attr]
    card = model_card(facts)
    (model,) = front(card)["model-index"]
    (result,) = model["results"]
    assert result["dataset"]["split"] == "test"
    assert {row["type"]: row["value"] for row in result["metrics"]} == {
        "accuracy": 0.75,
        "balanced_accuracy": pytest.approx(0.8333, abs=1e-4),
        "f1": pytest.approx(test["metrics"]["macro_f1"], abs=1e-4),
    }
    assert "| accuracy | 0.75 | 0." in card
    assert "| a\\|b | 2 | 2 | 2 |" in card
    assert "| c\\<d | 2 | 1 | 2 |" in card
    assert "Fewer than 30 test images" in card
    assert "Left out because they cannot be decoded: 1 of train." in card
    assert "Some images are the same byte for byte." in card


def test_without_a_retraining_the_card_says_that_its_values_are_too_good(facts: CardFacts) -> None:
    report = VariantReport(
        "int8", False, Difference(0.03, Interval(0.01, 0.05), 0.9, 0.87), 0.02, 4, 3, 0.1, 1000, "8-bit weights", ()
    )
    card = model_card(
        CardFacts(**{**vars(facts), "origin": "trial 0001, as trained in the sweep", "variants": (report,)})
    )
    (result,) = front(card)["model-index"][0]["results"]
    assert result["dataset"]["split"] == "validation"
    assert "too good by what luck added" in card
    assert "| int8 | 0.03 | 0.010 to 0.050 | 1000 | deleted: it may lose too much |" in card


def test_nothing_of_this_machine_stands_in_it(facts: CardFacts, tmp_path: Path) -> None:
    card = model_card(CardFacts(**{**vars(facts), "origin": "trial 0001, as trained in the sweep"}))
    for secret in (str(tmp_path), "photos/", ".jpg\n"):
        assert secret not in card.replace("photo.jpg", "")
