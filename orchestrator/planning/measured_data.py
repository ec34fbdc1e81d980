"""MeasuredData: a data set counted, measured and probed on this machine, with a recommended start of a search."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from orchestrator.cluster.limits import allowed_cores
from orchestrator.spec.named_data import NamedData
from search_spaces.errors import BadImages
from search_spaces.presets import preset_architectures, preset_names
from trainables.config import TrialConfig
from trainables.data.arrays import Arrays, Progress, decode_rest, load_arrays
from trainables.data.node_cache import NodeCache
from trainables.data.readers import open_configured
from trainables.data.summary.data_summary import DataSummary, summarize
from trainables.data.summary.image_sample import sample_arrays
from trainables.data.summary.image_sizes import ImageSizes, read_sizes
from trainables.estimate.linear_probe import probe_config
from trainables.estimate.probe_scores import PROBED, ProbeScores, score_probes
from trainables.estimate.recommendation import Recommendation, SizeAdvice, recommend, recommend_size
from trainables.estimate.weights_at_hand import are_at_hand, find_weights
from trainables.processor import use_processor
from trainables.task_catalog import unread_settings


@dataclass(frozen=True)
class OpenedData:
    """OpenedData: images of a data set, decoded."""

    named: NamedData
    """Settings and cache of the images; those of photos with the size and the handling of bad images that fit them."""

    sizes: ImageSizes | None
    """Sizes of the files' photos."""

    advice: SizeAdvice
    """Size that fits the photos and this machine."""

    arrays: Arrays
    """Images of train and val; of all splits where that was asked for."""

    bad_images: dict[str, str]
    """Errors by path of the images that cannot be decoded and are left out."""


@dataclass(frozen=True)
class MeasuredData:
    """MeasuredData: everything that was found out about a data set."""

    opened: OpenedData
    """Images."""

    summary: DataSummary
    """Counts, weights, pixels, sizes."""

    probes: ProbeScores
    """Linear probes of the architectures whose weights are at hand."""

    without_weights: tuple[str, ...]
    """Architectures that were not probed, since no weights of them are on this machine."""

    recommendation: Recommendation
    """Recommended start of a search."""


def open_images_of(named: NamedData, on_progress: Progress, *, whole: bool = False) -> OpenedData:
    """Decode the images, of photos at the size that fits them; images of photos that cannot be decoded are left out.

    With `whole` all splits are decoded, as a sweep does. Raises InvalidInput as `load_arrays` does.
    """
    sizes = read_sizes(open_configured(named.data, named.cache))
    advice = recommend_size(sizes, has_gpu=torch.cuda.is_available())
    if not named.is_sweep:
        fitting = {"image_size": advice.image_size, "resize_mode": advice.resize_mode}
        update = {name: value for name, value in fitting.items() if name not in named.settings}
        named = replace(named, data=named.data.model_copy(update=update))
    bad = dict[str, str]()
    try:
        arrays = _decoded(named, on_progress, whole=whole)
    except BadImages as error:
        if named.is_sweep or "on_bad_image" in named.settings:
            raise
        bad = dict(error.faults)
        named = replace(named, data=named.data.model_copy(update={"on_bad_image": "skip"}))
        arrays = _decoded(named, on_progress, whole=whole)
    return OpenedData(named, sizes, advice, arrays, bad)


def use_free_cores() -> None:
    """Let torch and BLAS take the cores that no other program uses, one at least.

    Their threads wait for one another: on cores that others use, several take far longer than one.
    """
    use_processor(max(1, round(allowed_cores() - os.getloadavg()[0])))


def measure_data(opened: OpenedData, on_probe: Callable[[str], None], *, probe: bool = True) -> MeasuredData:
    """Count and measure the images, probe each architecture whose weights are on this machine, and recommend."""
    named = opened.named
    summary = summarize(opened.arrays, named.data, opened.sizes)
    configs, lacking = probed_trials(named) if probe else ([], ())
    cache = NodeCache(named.cache, named.budget)
    probes = score_probes(configs, sample_arrays(opened.arrays, PROBED), cache, on_probe)
    return MeasuredData(opened, summary, probes, lacking, recommend(summary.counts, probes.scores))


def probed_trials(named: NamedData) -> tuple[list[TrialConfig], tuple[str, ...]]:
    """Return the trials whose probes can be measured, one per architecture, and the architectures without weights.

    Of a sweep file they are those of its space; of photos those of `data.weights_dir`, or, without it, those of the
    presets that timm's hub cache holds.
    """
    if named.is_sweep:
        by_name = {config.architecture: config for config in reversed(named.configs)}
        names = dict.fromkeys(config.architecture for config in named.configs)
        configs = [probe_config(by_name[name].model_copy(update={"balance": "none"})) for name in names]
        if configs and "head_init" in unread_settings(configs[0].task):
            return [], ()
    else:
        folder = named.data.weights_dir
        usual = dict.fromkeys(name for preset in preset_names() for name in preset_architectures(preset))
        at_hand = find_weights(named.data.image_size, folder, None if folder is not None else usual)
        configs = [photo_trial(named, name) for name in at_hand.architectures]
    found = [config for config in configs if are_at_hand(config)]
    return found, tuple(config.architecture for config in configs if config not in found)


def photo_trial(named: NamedData, architecture: str, **settings: Any) -> TrialConfig:
    """Return a head trial on photos, laid out as a sweep on this machine would, so that both share their features."""
    head = {"strategy": "head", "epochs": 1, "lr": 1e-3, "channels_last": not torch.cuda.is_available()}
    return TrialConfig.model_validate({"data": named.data, "architecture": architecture, **head, **settings})


def _decoded(named: NamedData, on_progress: Progress, *, whole: bool) -> Arrays:
    splits = None if whole else ("train", "val")
    arrays = load_arrays(named.data, named.cache, splits, on_progress, named.budget)
    decode_rest(arrays, on_progress)
    return arrays
