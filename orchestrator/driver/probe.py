"""Probe first: score every architecture by a linear probe before the sweep, and try the best ones first."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import ray
import torch

from orchestrator.spec.sections import cache_budget
from orchestrator.spec.sweep_spec import SweepSpec
from trainables.config import TrialConfig
from trainables.estimate.linear_probe import Probe, linear_probe
from trainables.storage.folders import cache_folder

log = logging.getLogger(__name__)

PROBE_POLL_SECONDS = 0.5


def probe_architectures(
    spec: SweepSpec,
    stopped: Callable[[], bool],
    keep: Callable[[str, Probe], None],
    known: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Return the score of every architecture of the space, probed side by side on the connected Ray, best first.

    Each probe is handed to `keep` with its architecture. Architectures in `known` are not probed again. One that cannot
    be probed has no score, and a line in the sweep's log. Once `stopped()` is true, scores that are not there yet are
    left out.
    """
    configs: dict[str, TrialConfig] = {}
    for config in spec.corner_configs():
        if config.architecture not in (known or {}):
            configs.setdefault(config.architecture, config)
    resources = spec.resources
    run = ray.remote(_probe).options(num_cpus=resources.cpus_per_worker, num_gpus=resources.gpus_per_worker)
    cache, budget = cache_folder(spec.storage.cache_dir), cache_budget(spec.storage.cache_budget)
    waiting = {run.remote(config, cache, budget, resources.threads): name for name, config in configs.items()}
    scores = dict(known or {})
    while waiting and not stopped():
        ready, _ = ray.wait(list(waiting), num_returns=1, timeout=PROBE_POLL_SECONDS)
        for reference in ready:
            name = waiting.pop(reference)
            try:
                probe: Probe = ray.get(reference)
            except ray.exceptions.RayError as error:
                # Its trials will fail with the same reason in more words; the other scores are useful all the same.
                log.warning("%s cannot be probed: %s", name, str(error).strip().splitlines()[-1])
            else:
                keep(name, probe)
                scores[name] = probe.objective
                log.info("%s: linear probe %.4f", name, scores[name])
    for reference in waiting:
        ray.cancel(reference, force=True)
    return dict(sorted(scores.items(), key=lambda item: spec.objective.score(item[1]), reverse=True))


def _probe(config: TrialConfig, cache: Path, budget: int | None, threads: int) -> Probe:
    torch.set_num_threads(threads)
    return linear_probe(config, cache, budget)
