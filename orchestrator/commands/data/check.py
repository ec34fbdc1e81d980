"""Command data check: everything that is wrong with a data set, at once."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
    writing,
)
from search_spaces.errors import InvalidInput
from search_spaces.paths import as_path

if TYPE_CHECKING:
    from trainables.data.check.check import DataCheck
    from trainables.data_config import DataConfig

_SourceArgument = Annotated[
    Path,
    typer.Argument(
        parser=as_path,
        metavar="DIR|MANIFEST|SWEEP.yaml",
        help="A folder of images, a manifest (its paths are relative to its folder), or a sweep file.",
    ),
]
_OutOption = Annotated[
    Path,
    typer.Option(
        parser=as_path,
        metavar="DIR",
        help="Folder for data.html, findings.csv and what --fix writes; never inside the data.",
    ),
]
_SizeOption = Annotated[int, typer.Option(min=1, help="Pixels of the shorter side below which an image is small.")]
_SHEETS = (".yaml", ".yml", ".json")


def check(
    source: _SourceArgument,
    set_: SetOption = None,
    out: _OutOption = Path(),
    min_size: _SizeOption = 64,
    format: FormatOption = Format.TABLE,
) -> None:
    """Look for everything that is wrong with a data set: files, duplicates, classes, splits. It changes nothing.

    Exit code 0: clean, or warnings; 1: findings that a sweep refuses; 2: it could not look.
    """
    from orchestrator.terminal.findings_text import findings_lines
    from trainables.data.check.check import check_data
    from trainables.data.check.records import check_json, findings_csv

    data = _data(source, set_ or [])
    _check_outside(out, data.root)
    with decoding_bar() as on_decoding:
        found = check_data(data, min_size=min_size, on_progress=on_decoding)
    with writing("--out", out):
        out.mkdir(parents=True, exist_ok=True)
        (out / "findings.csv").write_text(findings_csv(found), encoding="utf-8", errors="backslashreplace")
    if format is Format.JSON:
        print_json(check_json(found))
    else:
        for line in findings_lines(found.findings):
            prose(output, line)
        _tell(found, out)
    if found.is_refused:
        raise typer.Exit(1)


def _data(source: Path, overrides: list[str]) -> "DataConfig":
    """Return the settings of the data that a folder, a manifest or a sweep file names."""
    from orchestrator.spec.loading import load_data
    from trainables.data_config import DataConfig

    if source.suffix.lower() in _SHEETS and not source.is_dir():
        return load_data(source, overrides)[0].data
    if overrides:
        raise InvalidInput(f"--set: overrides a key of a sweep file, got {source}; name a sweep file, or leave it out")
    if source.is_file():
        return DataConfig(root=source.parent, manifest=source)
    return DataConfig(root=source)


def _check_outside(out: Path, root: Path) -> None:
    if out.resolve().is_relative_to(root.resolve()):
        raise InvalidInput(
            f"--out: must be a folder outside the data, got {out.resolve()} in {root}; run it elsewhere, or name "
            "another folder with --out"
        )


def _tell(found: "DataCheck", out: Path) -> None:
    """Print the number of images, the verdict and the files that were written."""
    classes = {image.entry.label for image in found.images}
    counts = f"{len(found.images):,} images of {len(classes)} classes, {len(found.findings):,} findings"
    verdict = "a sweep would refuse this data" if found.is_refused else "a sweep would begin with this data"
    if not found.has_features:
        counts += "; without --weights: only near-duplicates that are sure, no labels to look at"
    prose(errors, f"\n{counts}\n{verdict}\nwrote {escaped(out / 'findings.csv')}")
