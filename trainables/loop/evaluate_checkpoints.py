"""Evaluation of checkpoints: one model, or the soft vote of several, on a split."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from search_spaces.errors import InvalidInput
from trainables.checkpoint_state import CheckpointState
from trainables.data.arrays import load_arrays
from trainables.loop.checkpoint import load_trained
from trainables.task.evaluation import Evaluation
from trainables.task.inference import Tta, predict_views
from trainables.task.task import load_task


def evaluate_checkpoint(
    checkpoint: Path, split: str, cache: Path, tta: Tta = "none", budget: int | None = None
) -> Evaluation:
    """Measure a checkpoint on a split of the data set it was trained on; `cache` has `budget` bytes, see NodeCache.

    Raises InvalidInput when the data set lacks the split or is no longer the one that was trained on.
    """
    return evaluate_checkpoints([checkpoint], split, cache, tta, budget)


def evaluate_checkpoints(
    checkpoints: Sequence[Path], split: str, cache: Path, tta: Tta = "none", budget: int | None = None
) -> Evaluation:
    """Measure the vote of several checkpoints, each with its own preprocessing; the task combines their outputs.

    Raises InvalidInput as `evaluate_checkpoint` does, and when they were trained on different classes or images.
    """
    states = [CheckpointState.read(checkpoint) for checkpoint in checkpoints]
    check_members(checkpoints, states)
    task = load_task(states[0].config.task)
    if tta not in task.tta:
        raise InvalidInput(
            f"--tta must be one of {', '.join(task.tta)} for the task {states[0].config.task}, got {tta}; leave it out"
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    votes, trained = [], []
    for checkpoint, state in zip(checkpoints, states, strict=True):
        arrays = load_arrays(state.config.data, cache, [split], budget=budget)
        if not arrays.fingerprints.is_trained(state.fingerprint):
            raise InvalidInput(
                f"data set must be the one that was trained on, but {state.config.data.root} has changed since; "
                "restore its images, or train again"
            )
        trained.append(arrays.fingerprints.trained)
        if trained[-1] != trained[0]:
            raise InvalidInput(
                f"models that vote must have been trained on the same images, got fingerprint {trained[0][:12]} in "
                f"{checkpoints[0]} and {trained[-1][:12]} in {checkpoint}; choose trials of one data set"
            )
        model, _ = load_trained(checkpoint)
        images = arrays.splits[split]
        votes.append(task.vote(predict_views(model.to(device), images, state.mean, state.std, device, tta)))
    found = task.evaluate(task.vote(votes), arrays.dataset, split, states[0].metrics_version)
    return replace(found, fingerprint=arrays.fingerprints.of_split(split))


def check_members(checkpoints: Sequence[Path], states: Sequence[CheckpointState]) -> None:
    """Raise InvalidInput unless the models of checkpoints can vote: one or more, of one task and the same classes."""
    if not states:
        raise InvalidInput("checkpoints must be one or more, got none; name at least one")
    for checkpoint, state in zip(checkpoints, states, strict=True):
        if state.config.task != states[0].config.task:
            raise InvalidInput(
                f"models that vote must be of the same task, got {states[0].config.task} in {checkpoints[0]} and "
                f"{state.config.task} in {checkpoint}; choose trials of one sweep"
            )
        if state.classes != states[0].classes:
            raise InvalidInput(
                f"models that vote must have the same classes, got {', '.join(states[0].classes)} in {checkpoints[0]} "
                f"and {', '.join(state.classes)} in {checkpoint}; choose trials of one data set"
            )
