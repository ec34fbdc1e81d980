"""Ensemble: several checkpoints of one data set as one model, whose outputs are their vote."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from search_spaces.errors import InvalidInput
from trainables.checkpoint_state import CheckpointState
from trainables.loop.checkpoint import load_trained
from trainables.loop.evaluate_checkpoints import check_members
from trainables.task.soft_vote import Renormalized
from trainables.task.task import load_task


def load_ensemble(checkpoints: Sequence[Path]) -> tuple[nn.Module, CheckpointState]:
    """Load checkpoints as one model, on the CPU in eval mode, with the state of the first, by which images come in.

    Raises InvalidInput where they differ in task, classes or the size of images, or the task has no vote as a model.
    """
    loaded = [load_trained(checkpoint) for checkpoint in checkpoints]
    states = [state for _, state in loaded]
    check_members(checkpoints, states)
    first = states[0]
    for checkpoint, state in zip(checkpoints, states, strict=True):
        ways = [(each.config.data.image_size, each.config.data.resize_mode) for each in (first, state)]
        if ways[0] != ways[1]:
            raise InvalidInput(
                f"models in one file must see the same pixels, got {ways[0][0]} px, {ways[0][1]} in {checkpoints[0]} "
                f"and {ways[1][0]} px, {ways[1][1]} in {checkpoint}; choose trials of one image_size and resize_mode"
            )
    given = first.mean, first.std
    models = [
        model if (state.mean, state.std) == given else Renormalized(model, (state.mean, state.std), given)
        for model, state in loaded
    ]
    return load_task(first.config.task).voter(models).eval(), first
