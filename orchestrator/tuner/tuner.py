"""Tuner: Ray Tune's tuner, built from the parts of this folder."""

from ray import tune

from analysis.run_folder import RunFolder
from orchestrator.cluster.capacity import trial_bundles
from orchestrator.spec.sections import Resources
from orchestrator.tuner.concurrency import limited
from orchestrator.tuner.restarts import MAX_RESTARTS
from orchestrator.tuner.result_filter import ResultFilter
from orchestrator.tuner.scheduler import PlanAwareAsha
from orchestrator.tuner.searcher import LedgerSearcher
from orchestrator.tuner.stopper import SweepStopper
from orchestrator.tuner.worker_environment import keep_keys_of_aws_out
from orchestrator.worker.trial_actor import TrialActor


def make_tuner(
    run: RunFolder,
    resources: Resources,
    searcher: LedgerSearcher,
    asha: PlanAwareAsha | None,
    stopper: SweepStopper,
    *,
    follow_nodes: bool,
) -> tune.Tuner:
    """Make the tuner for the rest of a sweep; `follow_nodes`: as many trials at once as the nodes allow."""
    keep_keys_of_aws_out()
    remaining = searcher.proposals.remaining
    return tune.Tuner(
        tune.with_resources(TrialActor, placement(resources)),
        tune_config=tune.TuneConfig(
            # Without an explicit limit a searcher gets one pending trial at a time, and actors start one by one.
            search_alg=limited(searcher, resources, remaining, follow=follow_nodes),
            scheduler=asha or tune.schedulers.FIFOScheduler(),  # type: ignore[no-untyped-call]
            num_samples=remaining,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=run.tune.name,
            storage_path=str(run.local),
            failure_config=tune.FailureConfig(max_failures=MAX_RESTARTS),
            callbacks=[searcher.restarts, ResultFilter()],
            # A trial writes its own checkpoints: they are read from RUN/checkpoints, not from Tune's folder.
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            stop=stopper,
            verbose=0,
        ),
    )


def placement(resources: Resources) -> tune.PlacementGroupFactory:
    """Return the resources that Tune reserves per trial: its worker computes, or only supervises a worker group."""
    bundles = trial_bundles(resources)
    if not resources.needs_worker_group:
        return tune.PlacementGroupFactory(bundles)
    # With an empty head, Tune's worker sits beside rank 0 and takes nothing.
    return tune.PlacementGroupFactory([{}, *bundles], strategy=resources.placement.upper())
