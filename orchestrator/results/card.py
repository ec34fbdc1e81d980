"""Model card: what an exported model is and what it is worth, for people who get its file and nothing else.

In the form of Hugging Face's cards, with a model-index (https://huggingface.co/docs/hub/model-cards). No path of this
machine and no name of a photo stands in it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from analysis.comparisons.confirmation import confirmation_text, read_confirmation
from analysis.comparisons.folds import folds_text
from analysis.leaderboard import Leaderboard
from analysis.ledger import RunRecord
from analysis.run_folder import RunFolder
from analysis.text_tables import markdown_table
from analysis.winner import retrain_record
from search_spaces.space import parameters_text
from trainables.bundle.export import ExportBundle
from trainables.bundle.variants import VariantReport
from trainables.data.readers import Dataset
from trainables.result import TrialResult

_METRICS = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro-F1"}


@dataclass(frozen=True)
class CardFacts:
    """Facts of one card."""

    run: RunFolder
    """Run of the trial."""

    record: RunRecord
    """Record of the run."""

    trials: tuple[TrialResult, ...]
    """Trial whose model was exported, or those that vote in it, the best first."""

    origin: str
    """Phrase that names the source of the weights."""

    bundle: ExportBundle
    """Export that the card describes."""

    variants: tuple[VariantReport, ...]
    """Variants that were asked for."""

    dataset: Dataset
    """Images of training, validation and test."""

    validation: Mapping[str, float]
    """Metrics on the validation images, without the prefix `val/`."""

    @property
    def trial(self) -> TrialResult:
        """The trial, or the best of those that vote."""
        return self.trials[0]

    @property
    def architecture(self) -> str:
        """Architecture, or those of the models that vote."""
        return " + ".join(trial.config.architecture for trial in self.trials)


def model_card(facts: CardFacts) -> str:
    """Return the card as Markdown with front matter."""
    record = retrain_record(facts.run, facts.trial) if "retrained" in facts.origin else None
    measured = None if record is None else record["test"]
    parts = [
        f"---\n{_front_matter(facts, measured)}\n---",
        f"# {facts.record.name}",
        f"A classifier of images into {len(facts.bundle.labels)} classes: {facts.architecture}, "
        f"fine-tuned by a search with Thaw ({facts.origin}).",
        *_use(facts),
        *_data(facts),
        *_quality(facts, measured),
        *_origin(facts),
        *_limits(facts, measured),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(facts: CardFacts, measured: Mapping[str, Any] | None) -> str:
    split = "validation" if measured is None else "test"
    values = facts.validation if measured is None else measured["metrics"]
    results = [
        EvalResult(
            task_type="image-classification",
            dataset_type="imagefolder",
            dataset_name=facts.record.name,
            dataset_split=split,
            metric_type={"macro_f1": "f1"}.get(name, name),
            metric_name=label,
            metric_value=round(values[name], 4),
        )
        for name, label in _METRICS.items()
        if name in values
    ]
    library = "timm" if len(facts.trials) == 1 else "onnx"
    return ModelCardData(
        library_name=library,
        pipeline_tag="image-classification",
        tags=[*dict.fromkeys(("image-classification", library, "onnx", "thaw"))],
        model_name=facts.record.name,
        eval_results=results,
    ).to_yaml()


def _use(facts: CardFacts) -> Iterator[str]:
    size = facts.bundle.preprocessing.image_size
    yield "## Use"
    ways = [
        "```sh\nthaw predict model.onnx photo.jpg\n```",
        "```python\nfrom pathlib import Path\n\nfrom thaw import Predictor\n\n"
        'Predictor.open("model.onnx").predict_files([Path("photo.jpg")])  # preprocessing is in the file\n```',
    ]
    if (facts.bundle.model.parent / "timm").is_dir():
        ways.append('```python\nimport timm\n\nmodel = timm.create_model("local-dir:timm", pretrained=True)\n```')
    yield "\n\n".join(ways)
    yield (
        f"Without Thaw: `images` float32 (n, 3, {size}, {size}), RGB, resized by "
        f"`{facts.bundle.preprocessing.resize_mode}`, mean and standard deviation as in `preprocessing.json`; "
        "`logits` (n, classes) in the order of `labels.txt`."
    )


def _data(facts: CardFacts) -> Iterator[str]:
    names = {split: split for split in facts.dataset.splits}
    if facts.dataset.has_val_in_train:
        names = {"train": "train and val", **{split: split for split in names if split not in ("train", "val")}}
    counts = {name: facts.dataset.labels(split).tolist() for split, name in names.items()}
    yield "## Data"
    rows = [
        [name, *(labels.count(index) for labels in counts.values())] for index, name in enumerate(facts.dataset.classes)
    ]
    yield markdown_table(["class", *counts], [*rows, ["all", *map(len, counts.values())]])
    skipped = {split: len(images) for split, images in facts.record.skipped_images.items()}
    if skipped:
        left_out = ", ".join(f"{count} of {split}" for split, count in skipped.items())
        yield f"Left out because they cannot be decoded: {left_out}."
    for remark in facts.record.data_remarks:
        yield f"{remark[:1].upper()}{remark[1:]}."


def _quality(facts: CardFacts, measured: Mapping[str, Any] | None) -> Iterator[str]:
    yield "## Quality"
    if measured is None and (folds := facts.trial.config.data.folds) is not None:
        yield (
            f"Cross-validated: the mean of {folds} folds, each measured by a head that had not seen it. The trial was "
            "chosen by these values, so they are too good by what luck added. The model itself was trained on all "
            "images, and no test images have measured it."
        )
        yield markdown_table(["metric", "value"], list(_named(facts.validation, {})))
    elif measured is None:
        yield (
            "On the validation images, by which the trial was chosen among others: the values are too good by what "
            "luck added. `thaw retrain` measures the winner on test images that chose nothing."
        )
        yield markdown_table(["metric", "value"], list(_named(facts.validation, {})))
    else:
        yield "On the test images, which chose nothing; the intervals are of other images, not of another training."
        yield markdown_table(
            ["metric", "value", "95 % interval"], list(_named(measured["metrics"], measured["intervals"]))
        )
        yield markdown_table(
            ["class", "precision", "recall", "95 % interval of recall", "F1", "images"],
            [
                [name, row["precision"], row["recall"], _range(measured["recall_intervals"].get(name)), row["f1"],
                 int(row["support"])]
                for name, row in measured["per_class"].items()
            ],
        )  # fmt: skip
    if (calibration := facts.bundle.calibration) is not None:
        yield (
            f"Probabilities are those of a temperature of {calibration['temperature']:.2f}. On {calibration['images']} "
            f"validation images the expected calibration error is {calibration['before']['value']:.3f} without it, and "
            f"{calibration['after']['value']:.3f} with it. What remains where unsure answers are withheld:"
        )
        rows = [[row["min_confidence"], row["coverage"], row["accuracy"]] for row in calibration["coverages"]]
        yield markdown_table(["least probability", "share of images answered", "share of these right"], rows)
    parity = facts.bundle.parity
    yield (
        f"`model.onnx` gives the label of the PyTorch model on {parity.same_label} of {parity.images} "
        f"{_checked_on(facts)} images ({parity.ties} ties); the largest difference of a logit is "
        f"{parity.max_abs_difference:.1e}."
    )
    if facts.variants:
        columns = ["variant", "loss of macro-F1", "95 % interval", "bytes", ""]
        yield markdown_table(columns, [_variant(report) for report in facts.variants])


def _checked_on(facts: CardFacts) -> str:
    return "training" if facts.dataset.has_val_in_train else "validation"


def _variant(report: VariantReport) -> Sequence[Any]:
    verdict = "kept" if report.kept else "deleted: it may lose too much"
    return [report.variant, report.loss.value, _range(report.loss.interval), report.size, verdict]


def _origin(facts: CardFacts) -> Iterator[str]:
    board = Leaderboard.from_run(facts.run)
    metric = facts.trial.config.objective.metric
    completed = sum(entry.rank is not None for entry in board.entries)
    yield "## Search"
    yield (f"Trials: {len(board.entries)} ({completed} trained to the end), ranked by `{metric}`{_of_folds(facts)}.")
    yield "\n".join(f"- Trial {each.trial_id}: {parameters_text(_told(each.parameters))}." for each in facts.trials)
    if (confirmation := read_confirmation(facts.run)) is not None:
        yield f"The best trials were trained again under other seeds: {confirmation_text(confirmation)}."
        yield markdown_table(
            ["trial", "seeds", f"mean of {metric}", "95 % interval"],
            [[each.trial_id, len(each.values), each.mean, _range(each.interval)] for each in confirmation.finalists],
        )


def _of_folds(facts: CardFacts) -> str:
    folds = folds_text(facts.trials)
    return f", the {folds}" if folds else ""


def _told(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters without the folders of this machine."""
    return {name: Path(value).name if name in ("weights", "teacher") else value for name, value in parameters.items()}


def _limits(facts: CardFacts, measured: Mapping[str, Any] | None) -> Iterator[str]:
    yield "## Limits"
    few = [name for name, row in (measured or {}).get("per_class", {}).items() if row["support"] < 30]
    lines = [
        "Every image gets one of these classes, also an image of something else: `--min-confidence` withholds answers, "
        "but a model can be sure of what it has never seen.",
        "The values hold for photos like those it was measured on: other cameras, light and places need a measurement.",
    ]
    if few:
        lines.append(f"Fewer than 30 test images, so that little is known: {', '.join(few)}.")
    yield "\n".join(f"- {line}" for line in lines)


def _named(values: Mapping[str, float], intervals: Mapping[str, Any]) -> Iterator[list[Any]]:
    for name, label in _METRICS.items():
        if name in values:
            yield [label, values[name], *([_range(intervals.get(name))] if intervals else [])]


def _range(bounds: Sequence[float] | None) -> str:
    return "" if bounds is None else f"{bounds[0]:.3f} to {bounds[1]:.3f}"
