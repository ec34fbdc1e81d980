"""Sweep file for a data set that has been measured: a preset with its own size, weights and resources, and comments.

Each comment says why a value is what it is, with the figure it rests on.
"""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from orchestrator.cluster.machine import Machine, at_once
from orchestrator.planning.measured_data import MeasuredData
from orchestrator.spec.sections import Resources
from search_spaces.presets import flow_text, preset_architectures, replaced_settings
from search_spaces.shell import thaw_command
from trainables.data_config import SplitShares

_WIDTH = 116
_NAMED = 3
_MOST_ARCHITECTURES = 4
_UNTRAINED = "demo"
"""Preset whose networks start from random weights."""

_LARGE = ("resnet34", "resnet50", "vgg16_bn")
"""Architectures of the presets that take a processor minutes per epoch on some thousand photos."""


_FIRST_TRY = ("search.trials=2", "trial.strategy=head", "trial.epochs=1", "space={lr: {log: [1e-3, 1e-2]}}")
"""Changes that every preset takes: its own space thaws at epochs that a short trial does not have."""


class _Setting(NamedTuple):
    key: str
    value: Any
    reason: str


def measured_sweep(found: MeasuredData, machine: Machine, file: object, *, is_hub_reachable: bool) -> str:
    """Return the text of a sweep file for measured photos on this machine; `file` is its name in the comments.

    Architectures are those whose weights are on this machine, the best linear probe first. Without any they are those
    of the preset, downloaded from timm's hub where it is reachable; else small ones that start from random weights.
    """
    names, reason = _architectures(found, machine, is_hub_reachable=is_hub_reachable)
    preset = found.recommendation.preset if names else None
    chosen = _UNTRAINED if preset is None else preset.value
    choice = [*names] or preset_architectures(chosen)
    blocks = {
        "#": "\n".join(_head(found, chosen, choice[0], file)),
        "data": _section("data", _data(found)),
        "  architecture": f"{_comment(reason, '  ')}\n  architecture: {flow_text({'choice': choice})}",
        "resources": _section("resources", _resources(machine)),
    }
    return replaced_settings(chosen, blocks)


def _head(found: MeasuredData, preset: str, architecture: str, file: object) -> Iterator[str]:
    advice, counts = found.recommendation, found.summary.counts
    images = ", ".join(f"{sum(own):,} {split}" for split, own in counts.splits.items())
    yield _comment(f"Sweep of {len(counts.classes)} classes, images: {images}; measured by `thaw init`.")
    yield "#"
    if preset == _UNTRAINED:
        yield _comment(
            f"Preset: {preset}, since no weights are on this machine, and timm's hub does not answer. From random "
            "weights a network needs far more photos: write the file again with --weights, or online."
        )
    else:
        yield _comment(f"Preset: {preset}, since {advice.preset.reason}.")
        yield _comment(f"Strategies at this size: {advice.strategy.value}.")
    yield _comment(f"Balance to expect: {advice.balance.value}, since {advice.balance.reason}.")
    yield _comment(f"What it will take: {thaw_command('plan', file)}. Run it: {thaw_command('sweep', file)}.")
    yield "# A first try in a minute or two, of two heads and one epoch, as a run of its own:"
    changes = [*_FIRST_TRY, f"trial.architecture={architecture}"]
    first = thaw_command("sweep", file, "--name", "try", *(word for change in changes for word in ("--set", change)))
    yield f"#   {_printable(first)}"


def _data(found: MeasuredData) -> Iterator[_Setting]:
    data, opened = found.opened.named.data, found.opened
    yield _Setting("root", str(data.root), "")
    if data.manifest is not None:
        yield _Setting("manifest", str(data.manifest), "")
    if data.split is not None:
        yield _Setting("split", data.split.model_dump(exclude={"group_by"}), _split_reason(data.split))
    if data.test == "none":
        yield _Setting("test", "none", "The images of test are in no folders of classes.")
    if opened.bad_images:
        paths, count = [*opened.bad_images], len(opened.bad_images)
        some = ", ".join(paths[:_NAMED]) + (", ..." if count > _NAMED else "")
        reason = f"{count} image{'s' if count > 1 else ''} cannot be decoded: {some}."
        yield _Setting("on_bad_image", data.on_bad_image, reason)
    advice = opened.advice
    yield _Setting("image_size", data.image_size, f"Size: {advice.size_reason}.")
    yield _Setting("resize_mode", data.resize_mode, f"Shape: {advice.mode_reason}.")
    if data.weights_dir is not None and found.probes.scores:
        yield _Setting("weights_dir", str(data.weights_dir), "Weights on this machine: nothing is downloaded.")


def _split_reason(shares: SplitShares) -> str:
    splits = (("val", shares.val), ("test", shares.test))
    taken = " and ".join(f"{share:.0%} to {name}" for name, share in splits if share)
    return f"The photos are not split: of each class {taken}, on every machine the same."


def _architectures(found: MeasuredData, machine: Machine, *, is_hub_reachable: bool) -> tuple[Sequence[str], str]:
    """Return the architectures with trained weights, none where there are none, and the reason."""
    scores = found.probes.scores[:_MOST_ARCHITECTURES]
    if scores:
        best = ", ".join(
            f"{score.architecture} {score.macro_f1:.3f} ({score.interval.low:.3f} to {score.interval.high:.3f})"
            for score in scores
        )
        left_out = len(found.probes.scores) - len(scores)
        more = f"; {left_out} more have weights and a lower one" if left_out else ""
        images = f"{scores[0].images:,} validation images"
        reason = f"Macro-F1 of the linear probe with its 95 % interval, {images}: {best}{more}."
        return [score.architecture for score in scores], reason
    if not is_hub_reachable:
        return [], "Small networks, since no weights are on this machine and they start from random ones."
    usual = preset_architectures(found.recommendation.preset.value)
    names = [name for name in usual if machine.gpus or name not in _LARGE]
    left_out_names = ", ".join(name for name in usual if name not in names)
    more = f" Without a GPU, {left_out_names} would take long." if left_out_names else ""
    return names, f"No weights are on this machine: they are downloaded once from timm's hub.{more}"


def _resources(machine: Machine) -> Iterator[_Setting]:
    share = max(1, machine.cores // machine.gpus) if machine.gpus else 1
    resources = Resources(cpus_per_worker=share, gpus_per_worker=1 if machine.gpus else 0)
    trials = at_once(resources, machine).trials
    gpus = f"{machine.gpus} x {machine.gpu}" if machine.gpus else "no GPU"
    at_a_time = f"{trials} trial{'s' if trials > 1 else ''} at once"
    reason = f"This machine: {machine.cores} cores, {machine.memory / 2**30:.0f} GiB, {gpus}; that makes {at_a_time}."
    yield _Setting("cpus_per_worker", share, reason)
    yield _Setting("gpus_per_worker", 1 if machine.gpus else 0, "")
    yield _Setting("concurrent", "auto", "")


def _section(name: str, settings: Iterator[_Setting]) -> str:
    lines = [f"{name}:"]
    for setting in settings:
        lines += [_comment(setting.reason, "  ")] if setting.reason else []
        lines.append(f"  {setting.key}: {flow_text(setting.value)}")
    return "\n".join(lines)


def _comment(text: str, indent: str = "") -> str:
    """Return a text as lines of comments; a name with a line break in it cannot end one."""
    start = f"{indent}# "
    return textwrap.fill(
        " ".join(_printable(text).split()),
        _WIDTH,
        initial_indent=start,
        subsequent_indent=start,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
