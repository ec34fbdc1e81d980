"""Command data stats: counts, weights, pixels and sizes of a data set, its linear probes, and a recommended start."""

from typing import TYPE_CHECKING, Annotated, Any

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
from search_spaces.plurals import counted

if TYPE_CHECKING:  # torch comes with it
    from orchestrator.planning.measured_data import MeasuredData


def stats(
    data: NamedDataArgument,
    root: RootOption = None,
    weights: WeightsOption = None,
    no_probe: Annotated[bool, typer.Option("--no-probe", help="Count and measure, without linear probes.")] = False,
    set_: SetOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Count and measure a data set, and recommend preset, architectures, strategy and balance for it.

    The evidence is the linear probe of each architecture whose weights are on this machine; nothing is downloaded.
    """
    from orchestrator.spec.named_data import read_named_data

    named = read_named_data(data, set_ or [], weights, root)
    from orchestrator.planning.measured_data import measure_data, open_images_of, use_free_cores  # imports torch

    with decoding_bar() as on_decoding:
        opened = open_images_of(named, on_decoding)
    use_free_cores()
    found = measure_data(opened, lambda name: prose(errors, f"[dim]probing {escaped(name)}[/dim]"), probe=not no_probe)
    warn_of(found.summary.remarks)
    warn_of(f"{name} was not probed: {fault}" for name, fault in found.probes.faults.items())
    if format is Format.JSON:
        print_json(stats_json(found))
        return
    _print(found, probed=not no_probe)


def stats_json(found: "MeasuredData") -> dict[str, Any]:
    """Return a measurement as a JSON-ready mapping."""
    from dataclasses import asdict

    recommendation = {
        name: {"value": advice[0], "reason": advice[1]} for name, advice in asdict(found.recommendation).items()
    }
    return {
        "root": str(found.opened.named.data.root),
        **found.summary.to_json(),
        "bad_images": [{"path": path, "error": error} for path, error in found.opened.bad_images.items()],
        "probes": [asdict(score) for score in found.probes.scores],
        "not_probed": {**dict.fromkeys(found.without_weights, "no weights on this machine"), **found.probes.faults},
        "recommendation": recommendation,
    }


def _print(found: "MeasuredData", *, probed: bool) -> None:
    from orchestrator.terminal.data_tables import counts_table, probe_table, recommendation_table, summary_lines

    for line in summary_lines(found.summary):
        prose(output, escaped(line))
    output.print("\nimages by split; weight in the loss; share of the batches under none and the sampler\n")
    output.print(counts_table(found.summary, output.width))
    if found.probes.scores:
        output.print()
        output.print(probe_table(found.probes))
        kind = "out-of-fold image" if found.summary.counts.folds else "validation image"
        prose(
            output,
            f"on {counted(found.probes.scores[0].images, kind)}; frozen features rank architectures, not strategies",
        )
    elif probed:
        lacking = ", ".join(found.without_weights) or "the presets' architectures"
        prose(errors, f"no weights of {escaped(lacking)} on this machine: nothing was probed; --weights names a folder")
    output.print("\nrecommended\n")
    output.print(recommendation_table(found.recommendation))
