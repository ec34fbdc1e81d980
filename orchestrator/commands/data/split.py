"""Command data split: the division of a data set into train, val and test, as files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.commands.data.arguments import RootOption
from orchestrator.commands.options import (
    Format,
    FormatOption,
    check_outside,
    errors,
    escaped,
    output,
    print_json,
    prose,
    warn_of,
    writing,
)
from orchestrator.terminal.safe_console import safe_text
from search_spaces.errors import InvalidInput
from search_spaces.paths import as_path
from search_spaces.plurals import counted
from search_spaces.shell import thaw_command
from trainables.storage.bucket import BucketPath
from trainables.storage.place import Place, as_place

if TYPE_CHECKING:
    from trainables.data.readers import Dataset
    from trainables.data.split.outcome import Outcome
    from trainables.data_config import SplitShares

_DataArgument = Annotated[
    Any,
    typer.Argument(
        parser=as_place, metavar="DIR|MANIFEST", help="A folder of photos, split or not; or a CSV manifest of them."
    ),
]
_OutOption = Annotated[
    Path,
    typer.Option(
        parser=as_path,
        metavar="DIR|X.csv|X.tsv",
        help="Manifest to write where the name ends in .csv or .tsv, else folder, with train/, val/ and test/.",
    ),
]
_GroupOption = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN|PATTERN",
        help="Keep the photos of a patient, scene or burst together: a column of the manifest, or a regular expression "
        r"with one group, found in the name of the file, e.g. 'patient(\d+)_'.",
    ),
]
_CopyOption = Annotated[bool, typer.Option("--copy/--link", help="Copy the photos into the folder, or link to them.")]
_MANIFESTS = (".csv", ".tsv")
# A folder with such a name would be taken for a file.
_FILES = (".txt", ".tab", ".json", ".jsonl", ".yaml", ".yml", ".parquet", ".xls", ".xlsx", ".zip", ".tar", ".gz")
_NAMED = 3


def split(
    data: _DataArgument,
    out: _OutOption,
    val: Annotated[float, typer.Option(help="Share of val of each class.")] = 0.15,
    test: Annotated[float, typer.Option(help="Share of test of each class; 0: no test.")] = 0.15,
    seed: Annotated[int, typer.Option(help="Seed of the division.")] = 42,
    group_by: _GroupOption = None,
    copy: _CopyOption = False,
    root: RootOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Divide photos into train, val and test: each class by itself, photos that look alike on one side.

    A data set that is split already is divided anew, all its photos together. The same photos give the same division on
    every machine. Nothing is overwritten.
    """
    from dataclasses import asdict

    from search_spaces.validation import parse
    from trainables.data.fingerprint import examine_content
    from trainables.data.split.files import check_new, leftovers, write_folder, write_manifest
    from trainables.data.split.outcome import outcome
    from trainables.data_config import SplitShares
    from trainables.storage.folders import cache_folder

    own, manifest = _place(data, root)
    settings = {"val": val, "test": test, "seed": seed, "together": "near_duplicates", "group_by": group_by}
    shares = parse(SplitShares, settings, "thaw data split", lambda _: "--")
    if not shares.val:
        raise InvalidInput("--val: must be above 0, got 0: a sweep chooses by val; raise it, or set data.folds instead")
    is_manifest = _is_manifest(out, copy=copy)
    check_new(out)
    if manifest is None:  # beside a manifest only listed files are photos
        check_outside("--out", out, own)
    listed = _listed(own, manifest, shares)
    warn_of(f"{path}: left by a division that was cut off; remove it, unless one is at work" for path in leftovers(out))
    content = examine_content(listed, cache_folder(None))
    dataset, found = content.dataset, outcome(content.dataset)
    with writing("--out", out):
        if is_manifest:
            write_manifest(dataset, out)
        else:
            write_folder(dataset, out, copy=copy)
    remarks = [*dataset.remarks, *content.remarks, *_by_bytes_alone(found)]
    if format is Format.JSON:
        print_json({"out": str(out), **asdict(found), "remarks": remarks})
    else:
        warn_of(remarks)
        _print(found)
        _print_next(out, own if is_manifest else None, copy=copy)


def _is_manifest(out: Path, *, copy: bool) -> bool:
    """Return whether a manifest is written, and no folder. Raises InvalidInput for a name of neither."""
    suffix = out.suffix.lower()
    if suffix in _FILES:
        raise InvalidInput(f"--out: must be a folder, or a manifest that ends in .csv or .tsv, got {out}; rename it")
    if copy and suffix in _MANIFESTS:
        raise InvalidInput(f"--copy: is for a folder, got --out {out}; leave it out, or name a folder")
    return suffix in _MANIFESTS


def _place(data: Place, root: Place | None) -> tuple[Path, Path | None]:
    """Return the folder of the photos, and the manifest where there is one. Raises InvalidInput for a bucket."""
    from trainables.data.sources.formats import is_container

    for place in (data, root):
        if isinstance(place, BucketPath):
            raise InvalidInput(_no_files(place))
    assert isinstance(data, Path)
    assert root is None or isinstance(root, Path)
    if data.is_file():
        if is_container(data):
            raise InvalidInput(_no_files(data))
        return root or data.parent, data
    if root is not None:
        raise InvalidInput(f"--root: is for a manifest, got {data}, which is none; leave it out")
    return data, None


def _listed(root: Path, manifest: Path | None, shares: "SplitShares") -> "Dataset":
    """List the photos, divided. Raises InvalidInput for photos within other files."""
    from trainables.data.readers import open_dataset

    found = open_dataset(root, manifest, shares=shares, anew=True)
    if found.origin is not None:
        raise InvalidInput(_no_files(root))
    return found


def _no_files(place: Place) -> str:
    return (
        f"{place}: photos must be files of this machine, in folders or listed by a manifest, got photos in a bucket "
        "or within other files; a sweep divides these by itself: `data.split` in its file"
    )


def _print_next(out: Path, root: Path | None, *, copy: bool) -> None:
    """Print what was written and what comes next: for a manifest of the photos in `root`, or for a folder."""
    if root is not None:
        section = f"data: {{root: {root}, manifest: {out}}}"
        prose(errors, f"\nwrote {escaped(out)}; in a sweep file:\n  {escaped(section)}")
        return
    kind = "copies of the photos" if copy else "links to the photos, which must stay where they are"
    init = thaw_command("init", "--data", out)
    prose(errors, f"\nwrote {escaped(out)}: {kind}; begin a sweep file:\n  {escaped(init)}")


def _by_bytes_alone(found: "Outcome") -> list[str]:
    if not (paths := found.by_bytes_alone):
        return []
    names = f"{', '.join(paths[:_NAMED])}{', ...' if len(paths) > _NAMED else ''}"
    return [
        f"{counted(len(paths), 'photo')} compared by the bytes alone, since damaged, of one color, or below 32 pixels "
        f"a side: {names}"
    ]


def _print(found: "Outcome") -> None:
    """Print the images per class and split, the groups, and what the shares miss."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class", overflow="fold")
    for name in found.splits:
        table.add_column(name, justify="right", no_wrap=True)
    for row in found.classes:
        table.add_row(safe_text(row.label), *(str(row.images[name]) for name in found.splits))
    table.add_row("[bold]all[/bold]", *(f"[bold]{count.images}[/bold]" for count in found.splits.values()))
    output.print(table)
    if found.groups:
        names = f"{', '.join(found.largest[:_NAMED])}{', ...' if len(found.largest) > _NAMED else ''}"
        prose(
            output,
            f"\n{counted(found.grouped, 'photo')} in {counted(found.groups, 'group')}, each kept in one split: equal, "
            f"alike or of one --group-by; the largest has {len(found.largest)}: {escaped(names)}",
        )
    missed = ", ".join(f"{name} {count.missed:+d}" for name, count in found.splits.items() if count.missed)
    prose(output, f"photos above or below the shares: {missed or 'none'}")
