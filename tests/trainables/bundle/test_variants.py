import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from orchestrator.terminal.tables import variant_refusal
from trainables.bundle import variants
from trainables.bundle.cpu import cpu_features
from trainables.bundle.export import ExportBundle, export_bundle
from trainables.bundle.predict import Predictor
from trainables.bundle.variant import Variant
from trainables.bundle.variants import JudgedImages, export_variants
from trainables.interval import Difference, Interval

Small = tuple[nn.Module, ExportBundle]
Photos = list[tuple[str, bytes]]
JUDGED = [Variant.FP16, Variant.INT8, Variant.ORT]


def by_labels(expected: Any, outputs: Any, _targets: Any) -> Difference:
    """Share of labels that differ from those of the trained model."""
    share = float((expected.argmax(axis=1) != outputs.argmax(axis=1)).mean())
    return Difference(share, Interval(share, share), 1.0, 1.0 - share)


def constant(high: float) -> Callable[..., Difference]:
    return lambda *_: Difference(high / 2, Interval(0.0, high), 1.0, 1.0 - high / 2)


@pytest.fixture
def bundle(small: Small, photos: Photos, tmp_path: Path) -> ExportBundle:
    made = small[1]
    return export_bundle(small[0], made.labels, made.preprocessing, {}, "f", photos, tmp_path / "export")


def images(photos: Photos, judge: Callable[..., Difference]) -> JudgedImages:
    targets = np.arange(len(photos)) % 2
    train = [(name, lambda data=data: data) for name, data in photos]
    return JudgedImages(iter(photos), targets, train, targets, judge)


def test_variants_are_made_judged_and_noted(small: Small, bundle: ExportBundle, photos: Photos) -> None:
    reports = export_variants(small[0], bundle, JUDGED, images(photos, by_labels), 1.1)
    folder = bundle.model.parent
    plain = Predictor.open(bundle.model)
    batch = plain.preprocess(photos)
    expected = plain.logits(batch)
    for report, variant in zip(reports, JUDGED, strict=True):
        assert (report.variant, report.kept, report.images) == (variant, True, len(photos))
        found = Predictor.open(folder / variant.file)
        assert (found.labels, found.fingerprint) == (plain.labels, plain.fingerprint)
        assert np.abs(found.logits(batch) - expected).max() == pytest.approx(report.max_abs_difference, abs=1e-3)
        assert report.size <= (folder / variant.file).stat().st_size
    half, int8, ort = reports
    assert half.same_label == ort.same_label == len(photos)
    assert int8.size < half.size < ort.size
    assert min(int8.attempts, key=lambda attempt: (attempt.loss, attempt.mean_abs_difference)).settings == int8.settings
    noted = json.loads((folder / "parity.json").read_text())
    assert noted["same_label"] == bundle.parity.same_label
    assert noted["cpu"] == cpu_features()
    assert [row["variant"] for row in noted["variants"]] == ["fp16", "int8", "ort"]
    assert [*folder.glob(".*")] == []

    export_bundle(small[0], bundle.labels, bundle.preprocessing, {}, "f", photos, folder)
    assert [*folder.glob("model.*")] == [bundle.model], "variants of the model before"


def test_a_variant_that_loses_too_much_leaves_its_attempts_alone(
    small: Small, bundle: ExportBundle, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(variants, "INT8_ATTEMPTS", variants.INT8_ATTEMPTS[:2])
    before = bundle.model.read_bytes()
    (report,) = export_variants(small[0], bundle, [Variant.INT8], images(photos, constant(0.05)), 0.05)
    assert not report.kept
    assert [attempt.loss for attempt in report.attempts] == [0.025, 0.025]
    assert [*bundle.model.parent.glob("model.*")] == [bundle.model]
    assert bundle.model.read_bytes() == before
    (noted,) = json.loads((bundle.model.parent / "parity.json").read_text())["variants"]
    assert (noted["kept"], len(noted["attempts"])) == (False, 2)


def test_the_upper_end_of_the_interval_decides(small: Small, bundle: ExportBundle, photos: Photos) -> None:
    for high, is_kept in ((0.019, True), (0.02, False)):
        (report,) = export_variants(small[0], bundle, [Variant.FP16], images(photos, constant(high)), 0.02)
        assert report.kept is is_kept


def test_outputs_that_are_not_finite_are_a_reason_too(
    small: Small, bundle: ExportBundle, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = variants.store_half

    def overflowing(model: Path, out: Path) -> None:
        store(model, out)
        made = onnx.load(out)
        made.graph.node[-1].output[0] = "whole"
        chain = (("Abs", "whole", "large"), ("Neg", "large", "minus"), ("Log", "minus", "logits"))
        made.graph.node.extend(onnx.helper.make_node(name, [given], [found]) for name, given, found in chain)
        onnx.save(made, out)

    monkeypatch.setattr(variants, "store_half", overflowing)
    (report,) = export_variants(small[0], bundle, [Variant.FP16], images(photos, constant(0.0)), 0.02)
    assert (report.kept, report.max_abs_difference) == (False, None)
    assert "every output must be a finite number" in variant_refusal(report)
    assert [*bundle.model.parent.glob("model.*")] == [bundle.model]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_classes_take_turns(labels: list[int]) -> None:
    order = variants._by_turns(np.array(labels))
    assert sorted(order) == [*range(len(labels))]
    seen = [labels[position] for position in order]
    turns = [seen[:place].count(label) for place, label in enumerate(seen)]
    assert turns == sorted(turns)
