"""Recommendation: preset, architectures, strategy, balance and size for a data set, each with the figure behind it.

The thresholds are those of the fine-tuning guides; the architectures are ranked by their linear probes where weights
are at hand, since frozen and fine-tuned accuracy go together (Kornblith et al., arXiv 1805.08974).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from search_spaces.presets import preset_architectures
from trainables.data.summary.class_counts import ClassCounts
from trainables.data.summary.image_sizes import ImageSizes
from trainables.data_config import ResizeMode
from trainables.estimate.probe_scores import ProbeScore

SMALL, MEDIUM = 1_000, 10_000
"""Training images below which a data set is small, and up to which it is medium."""

IMBALANCED = 3.0
"""Imbalance ratio above which the classes are imbalanced."""

USUAL_SIZE, PROCESSOR_SIZE = 224, 96
"""Largest image size that is recommended, on a GPU and without one, in pixels."""

# Pretrained networks lose much on smaller squares: the linear probe of digits of 28 px (tf_mobilenetv3_small_100) has a
# macro-F1 of 0.80 at 32 px, 0.94 at 64 and 0.94 at 96.
_SIZES = (64, 96, 128, 160, 192, 224)
_LONG = 2.0
_UNPROBED = (
    "those of the preset, not probed; without weights here, and with no network to fetch them, `thaw init` writes the "
    "preset demo, from random weights"
)
_MOST = 4

SizePreset = Literal["small-data", "medium-data", "large-data"]
_STRATEGIES = {
    "small-data": "head first, then gentle thaws (partial, gradual): a thawed network overfits so few images",
    "medium-data": "all of head, partial, progressive, gradual and full: thawing pays at this size, but not always",
    "large-data": "thawed networks (partial, progressive, full): a frozen backbone is soon the limit",
}


class Advice(NamedTuple):
    """Advice on one setting."""

    value: str
    """Recommended value."""

    reason: str
    """Reason, with the figure it rests on."""


class SizeAdvice(NamedTuple):
    """Advice on the input of the model."""

    image_size: int
    """Recommended `data.image_size`."""

    size_reason: str
    resize_mode: ResizeMode
    """Recommended `data.resize_mode`."""

    mode_reason: str


@dataclass(frozen=True)
class Recommendation:
    """Recommended start of a search."""

    preset: Advice
    """Preset of `thaw init`."""

    architectures: Advice
    """Architectures, comma-separated, the most promising first."""

    strategy: Advice
    """Freeze strategies in words."""

    balance: Advice
    """Answer to imbalance."""


def recommend(counts: ClassCounts, probes: Sequence[ProbeScore]) -> Recommendation:
    """Recommend the start of a search; `probes` are best first."""
    size, size_reason = size_preset(sum(counts.train))
    ratio = counts.ratio
    most, least = max(counts.train), min(counts.train)
    figure = f"the largest class has {most:,} training images, the smallest {least:,}, a ratio of {ratio:.3g}"
    reason = f"{figure}, not more than 3" if most > least else f"each class has {most:,} training images"
    balance = Advice("none", reason)
    preset = Advice(size, size_reason)
    if ratio > IMBALANCED:
        figure = f"{counts.largest} has {ratio:.3g} times the training images of {counts.smallest}, more than 3"
        preset = Advice("imbalanced", f"{figure}; by size it would be {size}: {size_reason}")
        balance = Advice(
            "sampler", f"{figure}; by the guides it serves rare classes best, which `thaw data balance` tests here"
        )
    architectures = _architectures(probes, preset_architectures(preset.value))
    return Recommendation(preset, architectures, Advice(_STRATEGIES[size], size_reason), balance)


def size_preset(images: int) -> tuple[SizePreset, str]:
    """Return the preset for so many training images, and the reason."""
    count = f"{images:,} training images"
    if images < SMALL:
        return "small-data", f"{count} are fewer than {SMALL:,}"
    if images <= MEDIUM:
        return "medium-data", f"{count} are from {SMALL:,} to {MEDIUM:,}"
    return "large-data", f"{count} are more than {MEDIUM:,}"


def recommend_size(sizes: ImageSizes | None, *, has_gpu: bool) -> SizeAdvice:
    """Recommend the size of the model's input by the sizes of the photos and the device that trains."""
    limit = USUAL_SIZE if has_gpu else PROCESSOR_SIZE
    if sizes is None:
        return SizeAdvice(limit, "the sizes of the photos are not known", "crop", "usual")
    median = sizes.shorter.median
    size = next((size for size in reversed(_SIZES) if size <= min(median, limit)), _SIZES[0])
    reason = f"half of the photos have a shorter side of {median:.0f} px or more"
    if median > limit:
        reason += ", and 224 px is usual" if has_gpu else f"; without a GPU, {limit} px keep a trial short"
    elif median < _SIZES[0]:
        reason = f"half of the photos have a shorter side of at most {median:.0f} px, but networks need more: enlarged"
    if sizes.aspect.high > _LONG:
        mode_reason = (
            f"one photo in ten is {sizes.aspect.high:.3g} times as long as wide or more: a crop would halve it"
        )
        return SizeAdvice(size, reason, "squash", mode_reason)
    mode_reason = f"nine photos in ten are at most {sizes.aspect.high:.3g} times as long as wide"
    if sizes.aspect.high > 1:
        mode_reason += f", so that a crop keeps at least {1 / sizes.aspect.high:.0%} of them"
    return SizeAdvice(size, reason, "crop", mode_reason)


def _architectures(probes: Sequence[ProbeScore], usual: Sequence[str]) -> Advice:
    if not probes:
        return Advice(", ".join(usual), _UNPROBED)
    best, *others = probes[:_MOST]
    figures = f"{best.architecture} has the best linear probe, macro-F1 {best.macro_f1:.3f}"
    level = [score.architecture for score in others if score.is_level]
    behind = [score.architecture for score in others if not score.is_level]
    if level:
        figures += f"; {best.images} validation images cannot tell {', '.join(level)} apart from it"
    if behind:
        figures += f"; {', '.join(behind)} {'is' if len(behind) == 1 else 'are'} worse beyond the interval"
    return Advice(", ".join(score.architecture for score in probes[:_MOST]), figures)
