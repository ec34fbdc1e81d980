"""Tables and sentences about a data set for the terminal: its counts, its probes, its answers to imbalance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.table import Table

from orchestrator.terminal.safe_console import safe_text
from orchestrator.terminal.tables import duration, interval_text
from search_spaces.plurals import counted

if TYPE_CHECKING:  # torch comes with these
    from trainables.data.summary.class_counts import ClassCounts
    from trainables.data.summary.data_summary import DataSummary
    from trainables.data.summary.image_sizes import Quantiles
    from trainables.estimate.head_balance import BalanceComparison
    from trainables.estimate.probe_scores import ProbeScores
    from trainables.estimate.recommendation import Recommendation
    from trainables.interval import Difference, Interval

_NAMED = 5
# Columns that a name of a class gets, where it is as long; what is longer is folded.
_NAME_WIDTH = 12


def counts_table(summary: DataSummary, width: int) -> Table:
    """Return one row per class: images by split, weight in the loss, share of the batches under the sampler.

    Of `width` columns the names of the classes keep their part: where there are few, the titles are short.
    """
    rows = []
    images = zip(*summary.counts.splits.values(), strict=True)
    for name, own, weights in zip(summary.counts.classes, images, summary.weights, strict=True):
        shares = (weights.share, weights.inverse_share, weights.effective_share)
        in_loss = (f"{weights.inverse:.3f}", f"{weights.effective:.3f}")
        rows.append([name, *(f"{count:,}" for count in own), *in_loss, *(f"{share:.1%}" for share in shares)])
    forms = []
    for inverse, effective in (("inverse", "effective"), ("inv.", "eff.")):
        forms.append([["class", *summary.counts.titles, inverse, effective, "none", inverse, effective], *rows])
    return _fitting(forms, width)


def summary_lines(summary: DataSummary) -> Iterator[str]:
    """Yield sentences on the counts, the sizes and the pixels."""
    counts = summary.counts
    images = [sum(own) for own in counts.splits.values()]
    parts = ", ".join(f"{count:,} {title}" for title, count in zip(counts.titles, images, strict=True))
    yield f"{counted(sum(images), 'image')} ({parts}) of {counted(len(counts.classes), 'class', 'classes')}"
    yield f"imbalance ratio {counts.ratio:.3g} in {'the folds' if counts.folds else 'train'}: {_extremes(counts)}"
    if (sizes := summary.sizes) is not None:
        yield (
            f"sizes of {counted(sizes.images, 'photo')} (least, 10 %, median, 90 %, most): "
            f"width {_numbers(sizes.width)} px, height {_numbers(sizes.height)} px, "
            f"longer side to shorter {_numbers(sizes.aspect)}"
        )
    yield (
        f"pixels of train at {summary.image_size} px ({summary.resize_mode}), per channel: "
        f"mean {_three(summary.mean)}, deviation {_three(summary.std)}"
    )


def _extremes(counts: ClassCounts) -> str:
    most, least = max(counts.train), min(counts.train)
    if most == least:
        return f"{most:,} of each class"
    return f"{most:,} of {counts.largest}, {least:,} of {counts.smallest}"


def probe_table(probes: ProbeScores) -> Table:
    """Return one row per architecture, the best first: macro-F1 of its linear probe with the interval, and time."""
    table = _table("linear probe", "macro-F1", "95 %", "accuracy", "time")
    for score in probes.scores:
        bounds = interval_text(score.interval, 3)
        name = safe_text(score.architecture)
        table.add_row(name, f"{score.macro_f1:.3f}", bounds, f"{score.accuracy:.3f}", duration(score.seconds))
    return table


def recommendation_table(recommendation: Recommendation) -> Table:
    """Return one row per recommended setting, with its reason."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for column in ("setting", "value", "reason"):
        table.add_column(column, style="bold" if column == "value" else "", overflow="fold")
    for name in ("preset", "architectures", "strategy", "balance"):
        advice = getattr(recommendation, name)
        table.add_row(name, safe_text(advice.value), safe_text(advice.reason))
    return table


def balance_table(found: BalanceComparison, width: int) -> Table:
    """Return one row per class, its recall under each answer with the interval; below them the means.

    Of `width` columns the names of the classes keep their part: where there are few, the interval stands on a line of
    its own, and where there are fewer, in percent.
    """
    images = [found.train_images] if found.folds else [found.train_images, found.val_images]
    titles = [f"in {found.folds} folds"] if found.folds else ["train", "val"]
    means = {
        "mean recall": [answer.macro_recall for answer in found.answers],
        "macro-F1": [answer.macro_f1 for answer in found.answers],
        "accuracy": [answer.accuracy for answer in found.answers],
    }
    forms = []
    for recall_text in (_recall_text, _recall_lines, _recall_percent):
        rows = [["recall", *titles, *(answer.name for answer in found.answers)]]
        for label, name in enumerate(found.classes):
            cells = [recall_text(answer.recall[label], answer.intervals[label]) for answer in found.answers]
            rows.append([name, *(f"{own[label]:,}" for own in images), *cells])
        rows += [[title, *[""] * len(titles), *(f"{value:.3f}" for value in own)] for title, own in means.items()]
        forms.append(rows)
    return _fitting(forms, width, found.rare)


def balance_verdict(found: BalanceComparison) -> list[str]:
    """Return plain sentences: which answer serves the rare classes best, and whether the sampler does as claimed."""
    by_name = {answer.name: answer for answer in found.answers}
    rare = _listed(found.rare)
    images = sum(count for name, count in zip(found.classes, found.val_images, strict=True) if name in found.rare)
    known = [answer for answer in found.answers if answer.rare_recall is not None]
    kind = "out-of-fold image" if found.folds else "validation image"
    if not known:
        return [f"{rare} has no validation images: add some, and ask again."]
    best = max(known, key=lambda answer: answer.rare_recall or 0.0)
    plain = by_name["none"]
    if best.name == "none" or best.against_none is None:
        first = f"No answer raises the recall of {rare} here: {plain.rare_recall:.3f} with none"
    elif best.against_none.interval.low > 0:
        first = (
            f"{best.name} serves {rare} best here: recall {best.rare_recall:.3f} against {plain.rare_recall:.3f} with "
            f"none, a difference beyond its interval ({_difference(best.against_none)})"
        )
    else:
        first = (
            f"{best.name} has the highest recall of {rare}, {best.rare_recall:.3f} against {plain.rare_recall:.3f} "
            f"with none, but {counted(images, kind)} cannot tell them apart ({_difference(best.against_none)})"
        )
    change = (
        f"With {best.name} in place of none, macro-F1 goes from {plain.macro_f1:.3f} to {best.macro_f1:.3f}, "
        f"accuracy from {plain.accuracy:.3f} to {best.accuracy:.3f}."
    )
    return [f"{first}.", *([] if best.name == "none" else [change]), _claim(found)]


def _claim(found: BalanceComparison) -> str:
    """Return the outcome of the guides' claim that the sampler serves the rare classes best."""
    against = found.sampler_against
    better = {name: each for name, each in against.items() if each.interval.high < 0}
    level = [name for name, each in against.items() if each.interval.low <= 0 <= each.interval.high]
    worse = [name for name, each in against.items() if each.interval.low > 0]
    claim = "The guides' claim that the sampler serves rare classes best"
    if better:
        name = min(better, key=lambda name: better[name].value)
        return f"{claim} does not hold here: {name} is better ({_difference(better[name])} for the sampler)."
    if not level:
        return f"{claim} holds here: it is better than {_listed(worse)}, each beyond its interval."
    beaten = f"; it is better than {_listed(worse)}" if worse else ""
    return f"{claim} is left open here: these images cannot tell it apart from {_listed(level)}{beaten}."


def _recall_text(recall: float | None, interval: Interval | None) -> str:
    return "" if recall is None else f"{recall:.2f} {interval_text(interval, 2)}"


def _recall_lines(recall: float | None, interval: Interval | None) -> str:
    return "" if recall is None else f"{recall:.2f}\n{interval_text(interval, 2)}"


def _recall_percent(recall: float | None, interval: Interval | None) -> str:
    if recall is None or interval is None:
        return ""
    return f"{recall:.0%}\n{100 * interval.low:.0f}–{100 * interval.high:.0f}%"


def _difference(found: Difference) -> str:
    low, high = found.interval
    return f"{found.value:+.3f}, 95 % for all comparisons together {low:+.3f} to {high:+.3f}"


def _listed(names: Sequence[str]) -> str:
    shown = [*names[:_NAMED], *([f"{len(names) - _NAMED} more"] if len(names) > _NAMED else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _numbers(found: Quantiles) -> str:
    return ", ".join(f"{value:.4g}" for value in found)


def _three(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def _fitting(forms: Sequence[Sequence[Sequence[str]]], width: int, bold: Sequence[str] = ()) -> Table:
    """Return the first form, a header and rows, that leaves the names in its first column enough of `width` columns.

    Rows whose names are `bold` are printed so. Without such a form it is the last.
    """
    for form in forms:
        names, *others = zip(*form, strict=True)
        wanted = min(max(map(cell_len, names)), _NAME_WIDTH)
        taken = sum(1 + max(cell_len(line) for cell in column for line in cell.split("\n")) for column in others)
        if taken + wanted <= width:
            break
    table = _table(*form[0])
    for name, *cells in form[1:]:
        table.add_row(safe_text(name), *cells, style="bold" if name in bold else "")
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table
