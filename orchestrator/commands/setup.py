"""Commands for the start: demo, init, schema, doctor."""

from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.commands.data.arguments import RootOption, WeightsOption
from orchestrator.commands.options import (
    AddressOption,
    Format,
    FormatOption,
    decoding_bar,
    errors,
    escaped,
    output,
    print_json,
    prose,
    warn_of,
    writing,
)
from search_spaces.documents import parse_yaml
from search_spaces.errors import InvalidInput, ThawError
from search_spaces.paths import as_path
from search_spaces.presets import PLACEHOLDER, preset_names, preset_summary, preset_text
from search_spaces.shell import thaw_command
from trainables.storage.place import Place, as_place

_CacheOption = Annotated[
    Path | None,
    typer.Option(parser=as_path, metavar="PATH", help="The cache folder to look at, as in storage.cache_dir."),
]
_SweepArgument = Annotated[
    Path | None,
    typer.Argument(
        parser=as_path, metavar="[FILE]", help="A sweep file, whose folders, images and devices are looked at too."
    ),
]

_FIRST_PRESET = "quickstart"


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command(rich_help_panel="Start")(demo)
    app.command(rich_help_panel="Start", epilog=_presets())(init)
    app.command(rich_help_panel="Start")(schema)
    app.command(rich_help_panel="Start")(doctor)


def demo(
    folder: Annotated[
        Path,
        typer.Argument(parser=as_path, metavar="FOLDER", help="The folder to work in; made where there is none."),
    ] = Path("thaw-demo"),
) -> None:
    """See the whole chain on handwritten digits: sweep, leaderboard, retrain, export, predict. Offline, two minutes."""
    from orchestrator.commands.demo import run_demo

    with writing("FOLDER", folder):
        folder.mkdir(parents=True, exist_ok=True)
    run_demo(folder, output)


def init(
    file: Annotated[Path, typer.Argument(parser=as_path, metavar="FILE", help="The sweep file to write.")] = Path(
        "sweep.yaml"
    ),
    preset: Annotated[
        str | None,
        typer.Option(
            help="Which preset to start from; listed below. By default the one that fits the measured photos, "
            "or quickstart without --data."
        ),
    ] = None,
    data: Annotated[
        Any,
        typer.Option(
            parser=as_place,
            metavar="PLACE",
            help="Your photos: a folder with train/ and val/ (and test/), one folder per class in each; or with one "
            "folder per class, which is then divided; or a manifest (CSV, TSV), a Parquet file or tar shard, or "
            "s3://... By default the folder photos.",
        ),
    ] = None,
    root: RootOption = None,
    weights: WeightsOption = None,
) -> None:
    """Write a sweep file to edit: for photos that are measured, with a comment on each choice, or from a preset."""
    if file.exists():
        raise InvalidInput(f"{file}: must not exist yet, but it does; choose another name, or remove it")
    if data is not None and preset is None:
        _write(file, _measured(file, data, weights, root))
        return
    if root is not None:
        raise InvalidInput("--root: is for a manifest that is measured; give --data, and no --preset")
    if weights is not None:
        raise InvalidInput("--weights: is for photos that are measured; give --data, and no --preset")
    _write(file, _from_preset(preset or _FIRST_PRESET, data))


def _write(file: Path, text: str) -> None:
    """Write a new sweep file, and print what to do with it."""
    with writing("FILE", file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    prose(
        errors,
        f"wrote {escaped(file)}; edit it, then\n  look at the space: {escaped(thaw_command('space', file))}\n"
        f"  run the sweep:     {escaped(thaw_command('sweep', file))}",
    )


def _from_preset(preset: str, data: Place | None) -> str:
    """Return the preset for photos in `data`, by default those in the folder photos."""
    if PLACEHOLDER not in preset_text(preset):
        if data is not None:
            raise InvalidInput(
                f"--data: preset {preset} has images of its own, got {data}; leave out --data, or choose another preset"
            )
        return preset_text(preset)
    data = data or Path("photos")
    needed = _needed_settings(data)
    if isinstance(data, Path) and not data.is_dir():
        prose(errors, f"[bold yellow]warning:[/bold yellow] --data: there is no folder {escaped(data)} on this machine")
    if "test" in needed:
        prose(errors, f"{escaped(data)}: test has no images in folders of classes; data.test: none leaves it out")
    if (shares := needed.get("split")) is not None:
        taken = " and ".join(f"{shares[split]:.0%} for {split}" for split in ("val", "test") if shares.get(split))
        prose(errors, f"{escaped(data)} is not split: data.split takes {taken} of each class")
    return preset_text(preset, str(data.absolute() if isinstance(data, Path) else data), needed)


def _measured(file: Path, data: Place, weights: Place | None, root: Place | None) -> str:
    """Return a sweep file for photos that are measured here. Raises InvalidInput where a sweep would refuse it."""
    from orchestrator.spec.loading import name_of_file, resolve
    from orchestrator.spec.named_data import read_named_data

    name = name_of_file(file)
    named = read_named_data(data, (), weights, root)
    if named.is_sweep:
        raise InvalidInput(f"--data: must be a folder of photos or a manifest, got the sweep file {data}")
    from orchestrator.cluster.machine import this_machine  # imports torch
    from orchestrator.planning.measured_data import measure_data, open_images_of, use_free_cores
    from orchestrator.planning.measured_sweep import measured_sweep
    from trainables.model.build import is_hub_reachable

    with decoding_bar() as on_decoding:
        opened = open_images_of(named, on_decoding, whole=True)
    use_free_cores()
    found = measure_data(opened, lambda each: prose(errors, f"[dim]probing {escaped(each)}[/dim]"))
    warn_of(found.summary.remarks)
    warn_of(f"{each} is left out: {fault}" for each, fault in found.probes.faults.items())
    has_weights = bool(found.probes.scores) or is_hub_reachable()
    if not has_weights:
        fitting = found.recommendation.preset.value
        warn_of(
            [
                f"no weights are on this machine, and timm's hub does not answer: {file} is of the preset demo, from "
                f"random weights, which need far more photos, in place of {fitting}; name a folder with --weights, or "
                "write it again online"
            ]
        )
    text = measured_sweep(found, this_machine(), file, is_hub_reachable=has_weights)
    resolve({"name": name, **parse_yaml(text, str(file))}, file.absolute().parent, str(file))
    return text


def _needed_settings(data: Place) -> dict[str, Any]:
    """Return the settings of `data` without which the photos could not be used; none where they are not there."""
    from trainables.data.readers import usual_settings
    from trainables.storage.folders import cache_folder

    if isinstance(data, Path) and not data.is_dir():
        return {}
    try:
        return usual_settings(data, cache_folder(None))
    except InvalidInput as error:  # no reason not to write a file
        warn_of([str(error)])
        return {}


def schema() -> None:
    """Print the JSON schema of the sweep file, for editors."""
    from orchestrator.spec.schema import sweep_schema

    print_json(sweep_schema())


def doctor(
    file: _SweepArgument = None,
    address: AddressOption = None,
    cache: _CacheOption = None,
    storage: Annotated[
        Any,
        typer.Option(parser=as_place, metavar="PLACE", help="Where runs lie, as in storage.root: folder or s3://..."),
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Check what this machine has: versions, devices, memory, disks, W&B; with --address, what every node has.

    Exit code 1 when something is missing.
    """
    from dataclasses import asdict

    from rich.table import Table

    from orchestrator.cluster.doctor import doctor_nodes, examine, examine_data
    from orchestrator.spec.loading import load

    spec = None if file is None else load(file)
    if spec is not None:
        cache, storage = cache or spec.storage.cache_dir, storage or spec.storage.root
    checks = examine(cache, storage)
    if spec is not None:
        checks += examine_data(spec.data, spec.corner_configs(), cache)
    if address is not None:
        from orchestrator.driver.node_requirements import ask_for_sweep  # imports Ray

        with ask_for_sweep(spec) as (question, folder):
            checks += doctor_nodes(address, question, folder)
    if format is Format.JSON:
        print_json([asdict(check) for check in checks])
    else:
        table = Table(box=None, pad_edge=False, show_header=False)
        for check in checks:
            table.add_row(
                "[green]ok[/green]" if check.ok else "[red]no[/red]",
                check.name,
                escaped(check.found),
                escaped(check.remedy),
            )
        output.print(table)
    missing = [check.name for check in checks if not check.ok]
    if missing:
        raise ThawError(f"not ready: {', '.join(missing)}")


def _presets() -> str:
    return "\n\n".join(["[bold]Presets[/bold]", *(f"{name}: {preset_summary(name)}" for name in preset_names())])
