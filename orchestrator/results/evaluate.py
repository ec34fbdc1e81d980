"""Evaluation of trials of a run on a split: the winner, any other trial, or several that vote."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from analysis.run_folder import open_run
from analysis.selection import best_completed, choose_trials
from analysis.winner import retrain_record, run_winner, weights_origin
from orchestrator.results.export import winner_weights
from orchestrator.results.retention import trial_weights
from orchestrator.spec.loading import load_run
from orchestrator.spec.sections import cache_budget
from search_spaces.errors import InvalidInput, one_of
from trainables.data.readers import SPLITS
from trainables.data_config import TrainedOn
from trainables.loop.evaluate_checkpoints import evaluate_checkpoints
from trainables.storage.folders import cache_folder
from trainables.storage.place import Place
from trainables.task.evaluation import Evaluation
from trainables.task.inference import Tta


@dataclass(frozen=True)
class EvaluatedTrials:
    """EvaluatedTrials: the trials that were measured, and their metrics."""

    trial_ids: tuple[str, ...]
    """Trials that vote, or the one."""

    origin: str
    """Phrase that names the source of the weights."""

    evaluation: Evaluation
    """Evaluation on the split that was asked for."""

    remarks: tuple[str, ...] = ()
    """Sentences about what the figures do not say."""


def evaluate_trials(
    folder: Place,
    trial_ids: Sequence[str] = (),
    *,
    ranks: Sequence[int] = (),
    split: str = "test",
    tta: Tta = "none",
    ensemble: int | None = None,
) -> EvaluatedTrials:
    """Measure trials of a run: those of ids and ranks, the best `ensemble` COMPLETED ones, or by default the winner.

    The winner is the retrained model where that exists and belongs to the winner. Named trials, and those of an
    ensemble, are as trained in the sweep. Several vote: the mean of their probabilities. Raises InvalidInput for a
    trial that does not exist or left no checkpoint, for a split that does not exist, and for data that has changed
    since.
    """
    if split not in SPLITS:
        raise InvalidInput(f"--split: {one_of(split, SPLITS)}")
    run = open_run(folder)
    remarks: list[str] = []
    known: str | None = None
    if trial_ids or ranks or ensemble is not None:
        if ensemble is not None and (trial_ids or ranks):
            raise InvalidInput(
                f"--ensemble must not be given with trials, got {ensemble} and "
                f"{', '.join([*trial_ids, *(f'--rank {rank}' for rank in ranks)])}; several trials vote without it"
            )
        trials = choose_trials(run, trial_ids, ranks) if ensemble is None else best_completed(run, ensemble)
        weights: list[AbstractContextManager[Path]] = [trial_weights(run, trial) for trial in trials]
        names = ", ".join(trial.trial_id for trial in trials)
        origin = f"trial {names}, as trained in the sweep" if len(trials) == 1 else f"soft vote of the trials {names}"
    else:
        trials = [run_winner(run)]
        weights, origin = [winner_weights(run, trials[0])], weights_origin(run, trials[0])
        record = retrain_record(run, trials[0])
        if split == "val" and record is not None and record.get("on") == TrainedOn.TRAIN_AND_VAL:
            remarks.append("--split val: its images were trained on; only test says how good the model is on new ones")
        if split == "test" and record is not None and record["test"] is not None:
            known = record["test"].get("fingerprint")
    storage = load_run(run).storage
    cache, budget = cache_folder(storage.cache_dir), cache_budget(storage.cache_budget)
    with ExitStack() as stack:
        checkpoints = [stack.enter_context(folder) for folder in weights]
        evaluation = evaluate_checkpoints(checkpoints, split, cache, tta, budget)
    if known is not None and known != evaluation.fingerprint:
        remarks.append("the images of test have changed since `retrain` measured them: the two figures do not compare")
    return EvaluatedTrials(tuple(trial.trial_id for trial in trials), origin, evaluation, tuple(remarks))
