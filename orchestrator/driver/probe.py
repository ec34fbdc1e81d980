"""Probe first: score every architecture by a linear probe before the sweep, and try the best ones first.

Trials of one architecture may differ in what decides its probe: the weights, or the weights of rare classes. The best
of its probes counts, since a search that loses to it was of no use.
"""

import itertools
import logging
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import ray

from orchestrator.spec.sections import cache_budget
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.worker.forked_call import call_forked
from search_spaces.errors import ThawError
from trainables.config import TrialConfig
from trainables.estimate.linear_probe import Probe, probe_config
from trainables.storage.folders import cache_folder
from trainables.task_catalog import METRICS_VERSION

log = logging.getLogger(__name__)

PROBE_POLL_SECONDS = 0.5


def probe_architectures(
    spec: SweepSpec,
    stopped: Callable[[], bool],
    keep: Callable[[str, Probe], None],
    known: Mapping[str, float],
    warn: Callable[[str], None],
    metrics_version: int = METRICS_VERSION,
) -> dict[str, float]:
    """Return the score of every architecture of the space, probed side by side on the connected Ray, best first.

    Each probe is handed to `keep` with its architecture. Architectures in `known` are not probed again. One that cannot
    be probed has no score, and `warn` gets the reason. Once `stopped()` is true, scores that are not there yet are left
    out.
    """
    configs = {name: probes for name, probes in _probes(spec).items() if name not in known}
    resources = spec.resources
    run = ray.remote(call_forked).options(num_cpus=resources.cpus_per_worker, num_gpus=resources.gpus_per_worker)
    cache, budget = cache_folder(spec.storage.cache_dir), cache_budget(spec.storage.cache_budget)
    settings = (cache, budget, resources.threads, metrics_version)
    waiting = {run.remote(pickle.dumps((_best_probe, (each, *settings)))): name for name, each in configs.items()}
    scores = dict(known)
    while waiting and not stopped():
        ready, _ = ray.wait(list(waiting), num_returns=1, timeout=PROBE_POLL_SECONDS)
        for reference in ready:
            name = waiting.pop(reference)
            try:
                probe: Probe = pickle.loads(ray.get(reference))
            except ray.exceptions.RayError as error:
                # The other scores are useful all the same.
                warn(f"{name} has no linear probe: {_reason(error)}")
            else:
                keep(name, probe)
                scores[name] = probe.objective
                log.info("%s: linear probe %.4f", name, scores[name])
    for reference in waiting:
        ray.cancel(reference, force=True)
    return dict(sorted(scores.items(), key=lambda item: spec.objective.score(item[1]), reverse=True))


def _probes(spec: SweepSpec) -> dict[str, list[TrialConfig]]:
    """Return the configurations of the different probes of each architecture, with every answer to imbalance."""
    corners = spec.corner_configs()
    answers = {(config.balance, config.class_weighting) for config in corners}
    found: dict[str, list[TrialConfig]] = {}
    for config, (balance, weighting) in itertools.product(corners, sorted(answers)):
        probe = probe_config(config.model_copy(update={"balance": balance, "class_weighting": weighting}))
        known = found.setdefault(config.architecture, [])
        if probe not in known:
            known.append(probe)
    return found


def _best_probe(
    configs: list[TrialConfig], cache: Path, budget: int | None, threads: int, metrics_version: int
) -> Probe:
    from trainables.estimate.linear_probe import linear_probe
    from trainables.processor import use_processor

    use_processor(threads)
    objective = configs[0].objective
    probes = [linear_probe(config, cache, budget, metrics_version) for config in configs]
    return max(probes, key=lambda probe: objective.score(probe.objective))


def _reason(error: ray.exceptions.RayError) -> str:
    """Return the reason of a failed probe, without a remedy for a setting that its trials may not have."""
    cause = getattr(error, "cause", None)
    lines = str(cause if isinstance(cause, ThawError) else error).strip().splitlines()
    return lines[-1].replace("head_init: probe needs", "it needs").split(";")[0] if lines else type(error).__name__
