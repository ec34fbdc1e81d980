"""Parts of a search, connected: study, proposals, rungs, TrialStates, and the searcher over them."""

import logging
from collections.abc import Callable

from analysis.ledger import Ledger
from analysis.run_folder import probe_id
from analysis.run_store import RunStore
from orchestrator.driver.probe import probe_architectures
from orchestrator.search import warm_start
from orchestrator.search.proposals import Proposals
from orchestrator.search.random_points import price_function
from orchestrator.search.rungs import Rungs, make_rungs, unstoppable_warning
from orchestrator.search.starting_points import starting_points
from orchestrator.search.study import build_study
from orchestrator.spec.sections import cache_budget
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tuner.scheduler import PlanAwareAsha
from orchestrator.tuner.searcher import LedgerSearcher
from orchestrator.tuner.stopper import SweepStopper
from orchestrator.tuner.trial_states import Foresee, TrialStates
from orchestrator.worker.assignment import Assignment
from trainables.estimate.flops import forward_flops
from trainables.estimate.linear_probe import Probe
from trainables.result import TrialResult
from trainables.storage.folders import cache_folder
from trainables.task.inference import write_predictions

log = logging.getLogger(__name__)


def make_searcher(
    spec: SweepSpec,
    ledger: Ledger,
    stopper: SweepStopper,
    on_trial: Callable[[TrialResult], None],
    warn: Callable[[str], None] = log.warning,
) -> tuple[LedgerSearcher, PlanAwareAsha | None]:
    """Return the searcher for the rest of a run, and its scheduler, both in the state after the trials so far.

    Architectures are probed first where the sweep asks for it, and `warn` gets a sentence on each that cannot be.
    `on_trial` is called with every change of a trial.
    """
    run, known, problem, configs = ledger.run, ledger.trials(), spec.problem, spec.corner_configs()
    study = build_study(spec.name, problem, known, run.study_log, warm_start.warm_trials(problem, run))
    rungs = make_rungs(spec.stopping, configs)
    asha = None if rungs is None else PlanAwareAsha(rungs)
    if rungs is not None:
        rungs.restore(known)
    late = unstoppable_warning(rungs, configs)
    if late is not None:
        log.warning("%s", late)
    scores = _probe_scores(spec, ledger, stopper.stop_all, warn)
    starting = starting_points(problem, spec.given_points(), list(scores))
    proposals = Proposals(problem, study, known, starting, price_function(rungs), ledger.next_number())
    states = TrialStates(ledger, study, on_trial, stopper.give_up, foresee(rungs))
    pruned_at_end = asha.pruned_at_end if asha else ()
    searcher = LedgerSearcher(
        proposals, states, _assigner(spec, ledger), stopper.is_over, pruned_at_end, lambda: stopper.is_stopped
    )
    return searcher, asha


def foresee(rungs: Rungs | None) -> Foresee:
    """Return what is known of a trial before it starts: the FLOPs of its model, and the rungs on its way."""
    return lambda config: {
        "flops": forward_flops(config),
        "rungs": () if rungs is None else tuple(rungs.passing(config)),
    }


def _probe_scores(
    spec: SweepSpec, ledger: Ledger, stopped: Callable[[], bool], warn: Callable[[str], None]
) -> dict[str, float]:
    """Return the scores of the architectures, probed where the sweep asks for it and the run has none.

    A run that has some gets those of architectures that an extension has added, unless it says `probe: false`.
    """
    record = ledger.read_run()
    known = record.probe
    if not spec.probed and not (known and spec.search.probe is None):
        return known
    store = RunStore(ledger.run)

    def keep(architecture: str, probe: Probe) -> None:
        place = ledger.run.predictions(probe_id(architecture))
        write_predictions(ledger.run.here(place), probe.predictions)
        store.publish(place)

    scores = probe_architectures(spec, stopped, keep, known, warn, record.metrics_version)
    if not stopped():
        ledger.update_run(probe=scores)
    return scores


def _assigner(spec: SweepSpec, ledger: Ledger) -> Callable[[TrialResult], Assignment]:
    cache = cache_folder(spec.storage.cache_dir)
    budget = cache_budget(spec.storage.cache_budget)
    record = ledger.read_run()

    def assign(trial: TrialResult) -> Assignment:
        return Assignment(
            trial=trial,
            run=ledger.run.root,
            generations=ledger.run.generations,
            cache=cache,
            cache_budget=budget,
            resources=spec.resources,
            target=spec.budget.target,
            metrics_version=record.metrics_version,
            fingerprint=record.fingerprint,
            sources=record.sources,
        )

    return assign
