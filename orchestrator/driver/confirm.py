"""Confirmation: the best trials of a run are trained again under several seeds, in a run of their own within it.

That run has the space of the search with the seed as a further dimension, and exactly the points that are confirmed: so
all commands for runs work on it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

from analysis.comparisons.confirmation import finalist_key
from analysis.leaderboard import Leaderboard
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder, claimed_run
from analysis.run_store import RunStore
from orchestrator.driver.extend import Extended, extend_sweep, plan_extension
from orchestrator.driver.preflight import check_inputs
from orchestrator.driver.sweep import SweepOutcome, resume_sweep, run_sweep
from orchestrator.spec.loading import load_run, resolve
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.observer import Observer
from orchestrator.tracking.sweep_identity import SweepIdentity
from search_spaces.documents import dump_yaml, read_mapping
from search_spaces.errors import InvalidInput
from search_spaces.space import SearchSpace
from trainables.data.arrays import Arrays, Progress
from trainables.loop.source_files import check_sources
from trainables.result import TrialResult

# Of the search alone: a confirmation trains without fixed views of the images, as a retraining does.
_SEED = "seed"
_VIEWS = "feature_views"


@dataclass(frozen=True)
class ConfirmationPlan:
    """ConfirmationPlan: trainings that confirm the finalists of a run."""

    run: RunFolder
    """Run of the search."""

    spec: SweepSpec
    """Sweep of these trainings."""

    finalists: tuple[TrialResult, ...]
    """Finalists, the best of the leaderboard first."""

    seeds: tuple[int, ...]
    """Seeds, none of which a finalist had in the search."""


def plan_confirmation(run: RunFolder, top: int, seeds: int) -> ConfirmationPlan:
    """Plan the training of the `top` best trials under so many `seeds`; trials that differ in their seed count once.

    A run with fewer COMPLETED trials has fewer finalists. Raises InvalidInput where it has none, and for a finalist
    that lies outside of a conditional space since an extension.
    """
    board = Leaderboard.from_run(run)
    board.winner()  # the message where no trial is COMPLETED
    distinct: dict[str, TrialResult] = {}
    for entry in board.entries:
        if entry.rank is not None:
            distinct.setdefault(finalist_key(entry.trial), entry.trial)
    finalists = tuple(islice(distinct.values(), top))
    used = {trial.config.seed for trial in finalists}
    new = tuple(islice((seed for seed in count() if seed not in used), seeds))
    store = RunStore(run)
    with store.reading(store.newest(lambda layer: layer.sweep_yaml)) as path:
        raw = read_mapping(path)
        spec = resolve(_confirming(raw, run, finalists, new), path.parent, str(run.sweep_yaml))
    return ConfirmationPlan(run, spec, finalists, new)


def check_confirmation(plan: ConfirmationPlan, on_progress: Progress | None = None) -> Arrays:
    """Check what the trainings need; return the images. Raises InvalidInput where they are not those of the search."""
    arrays = check_inputs(plan.spec, on_progress)
    record = Ledger(plan.run).read_run()
    check_sources(plan.spec.corner_configs(), record.sources)
    if not arrays.fingerprints.is_trained(record.fingerprint):
        raise InvalidInput(
            f"{plan.spec.data.root}: finalists must be confirmed on the images of their search, but they have changed "
            "since; restore them, or launch a new sweep"
        )
    return arrays


def confirm_finalists(
    plan: ConfirmationPlan,
    arrays: Arrays | None = None,
    observers: Iterable[Observer] = (),
    address: str | None = None,
) -> SweepOutcome | None:
    """Do those trainings of the plan that have not been done; return None where none was left to do.

    `arrays` is what `check_confirmation` returned. Raises as `run_sweep`, `resume_sweep` and `extend_sweep` do.
    """
    confirming = claimed_run(plan.run.confirm)
    if not any(layer.run_json.is_file() for layer in confirming.layers()):
        arrays = arrays or check_confirmation(plan)
        return run_sweep(plan.spec, arrays, observers, address, confirms=SweepIdentity.of(plan.run).group)
    ledger = Ledger(confirming)
    known, planned = ledger.trials(), ledger.read_run().trials_planned
    done = {(finalist_key(trial), trial.config.seed) for trial in known}
    pairs = ((finalist, seed) for seed in plan.seeds for finalist in plan.finalists)
    missing = [
        point
        for point, (finalist, seed) in zip(plan.spec.given_points(), pairs, strict=True)
        if (finalist_key(finalist), seed) not in done
    ]
    foreseen = load_run(confirming).given_points()
    if any(point not in foreseen for point in missing):
        return extend_sweep(_extension(plan, known, ledger.next_number() + len(missing)), observers, address)
    if len(known) < planned or any(trial.status.unfinished for trial in known):
        return resume_sweep(plan.run.confirm, observers, address)
    return None


def _extension(plan: ConfirmationPlan, known: Sequence[TrialResult], trials: int) -> Extended:
    """Plan exactly the trainings that are missing, to so many in all, in the space that the search has by now."""
    seeds = sorted({*plan.seeds, *(trial.config.seed for trial in known)})
    changes = {
        "space": {**plan.spec.space, _SEED: {"choice": seeds}},
        "search.points": list(plan.spec.search.points or ()),
        "search.trials": trials,
    }
    return plan_extension(plan.run.confirm, 0, [f"{key}={dump_yaml(value)}" for key, value in changes.items()])


def _confirming(
    raw: dict[str, Any], run: RunFolder, finalists: Sequence[TrialResult], seeds: Sequence[int]
) -> dict[str, Any]:
    """Return the sweep file of the trainings from that of the search."""
    has_folds = finalists[0].config.data.folds is not None  # whose features are computed once: their views stay
    of_the_search = (_SEED,) if has_folds else (_SEED, _VIEWS)
    fixed, space = (
        {name: value for name, value in (raw.get(section) or {}).items() if name not in of_the_search}
        for section in ("trial", "space")
    )
    settings = [
        {name: value for name, value in each.parameters.items() if name not in of_the_search} for each in finalists
    ]
    points = [{**each, _SEED: seed} for seed in seeds for each in settings]
    root = run.root.absolute() if isinstance(run.root, Path) else run.root  # the file is resolved from its own folder
    return {
        **raw,
        "name": run.confirm.name,
        "trial": fixed if has_folds else {**fixed, _VIEWS: 0},
        "space": {**_holding(space, finalists), _SEED: {"choice": [*seeds]}},
        "search": {"sampler": "random", "trials": len(points), "probe": False, "points": points},
        "stopping": "none",
        "budget": {},
        "storage": {**raw.get("storage", {}), "root": str(root), "keep_best": None},
    }


def _holding(space: Mapping[str, Any], finalists: Sequence[TrialResult]) -> dict[str, Any]:
    """Return the space where a setting takes the finalists' values if an extension has left one of them outside."""
    found = dict(space)
    for name, domain in space.items():
        values = [*dict.fromkeys(finalist.parameters[name] for finalist in finalists if name in finalist.parameters)]
        if not isinstance(domain, Mapping) or "when" in domain:
            continue
        alone = SearchSpace.parse({name: domain}, {})
        if not all(alone.contains({name: value}) for value in values):
            found[name] = {"choice": values}
    return found
