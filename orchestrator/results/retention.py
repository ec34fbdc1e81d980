"""Retention of weights: which are kept when a sweep has ended, and where those of a trial lie."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from analysis.leaderboard import Leaderboard
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from analysis.run_store import RunStore
from orchestrator.spec.loading import load_run
from search_spaces.errors import InvalidInput
from search_spaces.shell import thaw_command
from trainables.loop import checkpoint
from trainables.result import TrialResult

_NAMED = 8


def remove_weights(run: RunFolder, board: Leaderboard, keep_best: int) -> None:
    """Delete the weights of finished trials, except the best epoch of the first `keep_best` ranked ones.

    Records, predictions and logs stay; so do the checkpoints of trials that a resumed sweep continues.
    """
    store, layers = RunStore(run), [*run.layers()]
    for entry in board.entries:
        trial = entry.trial
        if trial.status.unfinished:
            continue
        for layer in layers:
            store.remove(layer.last(trial.trial_id))
            if entry.rank is None or entry.rank > keep_best:
                store.remove(layer.best(trial.trial_id))


@contextmanager
def trial_weights(run: RunFolder, trial: TrialResult, *, is_winner: bool = False) -> Iterator[Path]:
    """Yield the checkpoint of a trial's best epoch on this machine.

    Raises InvalidInput when there is none, and for a trial of folds, whose heads are no model.
    """
    store = RunStore(run)
    folds = trial.config.data.folds_trained
    if folds is not None:
        named = () if is_winner else ("--trial", trial.trial_id)
        raise InvalidInput(
            f"{run.root}: trial {trial.trial_id} must be one model to be used, got one head for each of {folds} folds; "
            f"train it on all images: `{thaw_command('retrain', run.root, *named)}`"
        )
    with store.reading(store.newest(lambda layer: layer.best(trial.trial_id))) as folder:
        if not checkpoint.exists(folder):
            raise InvalidInput(_missing(run, trial))
        yield folder


def _missing(run: RunFolder, trial: TrialResult) -> str:
    store = RunStore(run)
    ranked = (entry.trial.trial_id for entry in Leaderboard.from_run(run).entries)
    there = list(islice((name for name in ranked if _has_weights(store, name)), _NAMED))
    rule = f"{run.root}: a trial must have a checkpoint, got {trial.trial_id}, which is {trial.status} and has none"
    kept = load_run(run).storage.keep_best
    if kept is not None and trial.best is not None:
        rule += f": storage.keep_best is {kept}, the weights of the others were removed when the sweep ended"
    remedy = f"train it again from its `config` in {Ledger(run).path(trial.trial_id)} with `thaw trial`"
    return f"{rule}; there are those of {', '.join(there) or 'no trial'}, or {remedy}"


def _has_weights(store: RunStore, trial_id: str) -> bool:
    return store.has(store.newest(lambda layer: layer.best(trial_id)))
