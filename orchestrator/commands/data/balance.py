"""Command data balance: heads under each answer to imbalance, side by side."""

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.data.arguments import NamedDataArgument, RootOption, WeightsOption
from orchestrator.commands.options import (
    Format,
    FormatOption,
    SetOption,
    decoding_bar,
    errors,
    escaped,
    output,
    print_json,
    prose,
    warn_of,
)
from search_spaces.errors import InvalidInput

if TYPE_CHECKING:  # torch comes with it
    from orchestrator.spec.named_data import NamedData
    from trainables.config import TrialConfig


def compare_balance(
    data: NamedDataArgument,
    root: RootOption = None,
    weights: WeightsOption = None,
    architecture: Annotated[
        str | None, typer.Option(help="Architecture whose frozen features are used; by default the first at hand.")
    ] = None,
    set_: SetOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Compare the answers to imbalance on this data set: none, sampler, loss, effective number, focal.

    Each trains heads on the cached features of one architecture, under three seeds; recall per class, with intervals.
    """
    from orchestrator.spec.named_data import read_named_data

    named = read_named_data(data, set_ or [], weights, root)
    from dataclasses import asdict

    from orchestrator.planning.measured_data import open_images_of, use_free_cores  # imports torch
    from orchestrator.terminal.data_tables import balance_table, balance_verdict
    from trainables.data.summary.image_sample import sample_arrays
    from trainables.estimate.head_balance import ANSWERS, EPOCHS, LEARNING_RATE, SEEDS, compare_answers
    from trainables.estimate.probe_scores import PROBED

    with decoding_bar() as on_decoding:
        opened = open_images_of(named, on_decoding)
    arrays = sample_arrays(opened.arrays, PROBED)
    config = _head_trial(opened.named, architecture)
    warn_of(arrays.remarks)
    trials = len(ANSWERS) * len(SEEDS)
    prose(errors, f"[dim]training {trials} heads on the features of {escaped(config.architecture)}[/dim]")
    use_free_cores()
    found = compare_answers(config, arrays, opened.named.cache, opened.named.budget)
    verdict = balance_verdict(found)
    if format is Format.JSON:
        settings = {"folds": found.folds or None, "epochs": EPOCHS, "lr": LEARNING_RATE, "seeds": list(SEEDS)}
        print_json({**asdict(found), **settings, "verdict": verdict})
        return
    output.print(balance_table(found, output.width))
    prose(
        output,
        f"\n{escaped(found.architecture)}, {EPOCHS} epochs at lr {LEARNING_RATE:g}, mean of {len(SEEDS)} seeds, 95 % "
        "intervals for other images; loss: inverse frequency; effective: by effective number; focal: gamma 2\n",
    )
    for sentence in verdict:
        prose(output, escaped(sentence))


def _head_trial(named: "NamedData", architecture: str | None) -> "TrialConfig":
    """Return the head trial whose variants are compared. Raises InvalidInput without weights of its architecture."""
    from orchestrator.planning.measured_data import probed_trials
    from trainables.estimate.head_balance import head_trial
    from trainables.task_catalog import unread_settings

    if named.is_sweep and "balance" in unread_settings(named.configs[0].task):
        raise InvalidInput(f"task {named.configs[0].task} reads no `balance`: there is nothing to compare")
    found, lacking = probed_trials(named)
    names = [config.architecture for config in found]
    if architecture is not None and architecture not in names:
        there = f"there are those of {', '.join(names)}" if names else "there are none"
        raise InvalidInput(
            f"--architecture: must have weights on this machine, got {architecture}; {there}; "
            "choose another, or name a folder of weights with --weights"
        )
    if not found:
        wanted = f" of {', '.join(lacking)}" if lacking else ""
        raise InvalidInput(
            f"--weights: weights{wanted} must be on this machine, got none; name a folder of <architecture>.safetensors"
        )
    return head_trial(found[names.index(architecture) if architecture is not None else 0])
