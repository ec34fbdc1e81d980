"""Checks before a run continues: budget left, and the same images as at its start."""

from collections.abc import Iterable

from analysis.ledger import Ledger, RunRecord
from analysis.run_folder import RunFolder
from orchestrator.driver.preflight import check_inputs
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tuner.budget_meter import BudgetMeter
from search_spaces.errors import InvalidInput
from search_spaces.shell import thaw_command
from trainables.data.arrays import Arrays
from trainables.loop.source_files import check_sources
from trainables.result import TrialResult
from trainables.storage.place import Place


def check_resumable(spec: SweepSpec, run: RunFolder, record: RunRecord, named: Place) -> Arrays:
    """Return the images of a run that can continue under `spec` and `record`; `named` is the user's name for it.

    Raises InvalidInput where the run cannot continue.
    """
    trials = Ledger(run).trials()
    exhausted = budget_meter(spec, record, trials).exhausted()
    if exhausted and (len(trials) < spec.search.trials or any(trial.status.unfinished for trial in trials)):
        raise InvalidInput(
            f"{named}: a run goes on while there is some budget left, but {exhausted}; "
            f"raise it with `{thaw_command('extend', named)} --set {exhausted.partition(':')[0]}=...`, "
            "or set it to none"
        )
    # A trial that fails for lack of its images or weights is not tried again, so no trial may start.
    arrays = check_inputs(spec)
    if not arrays.fingerprints.is_trained(record.fingerprint):
        raise InvalidInput(
            f"{spec.data.root}: a run must go on with the images it began with, but they have changed since; "
            "restore them, or launch a new sweep"
        )
    check_sources(spec.corner_configs(), record.sources)
    return arrays


def budget_meter(spec: SweepSpec, record: RunRecord, trials: Iterable[TrialResult]) -> BudgetMeter:
    """Return the meter of the budget that a run has used up so far."""
    gpus = spec.resources.gpus_per_worker * spec.resources.workers
    since = max((extension.first_trial for extension in record.extensions), default=0)
    return BudgetMeter(spec.budget, spec.objective, gpus, trials, record.driven_seconds, since)
