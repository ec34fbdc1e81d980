"""Command data check: everything that is wrong with a data set, at once."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from orchestrator.commands.data.arguments import NamedDataArgument, RootOption
from orchestrator.commands.data.written import write_together
from orchestrator.commands.options import (
    Format,
    FormatOption,
    SetOption,
    check_outside,
    decoding_bar,
    errors,
    escaped,
    output,
    print_json,
    prose,
    warn_of,
    writing,
)
from search_spaces.errors import InvalidInput
from search_spaces.paths import as_path
from search_spaces.plurals import counted
from search_spaces.user_files import IMAGE, read_user_file
from trainables.storage.place import as_place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.spec.named_data import NamedData
    from trainables.data.check.check import DataCheck, Embed
    from trainables.data.check.inspection import Inspected
    from trainables.data.check.near_groups import Features
    from trainables.data.lazy_images import Pixels

_OutOption = Annotated[
    Path,
    typer.Option(
        parser=as_path,
        metavar="DIR",
        help="Folder for data.html, findings.csv and what --fix writes; never inside the data.",
    ),
]
_SizeOption = Annotated[int, typer.Option(min=1, help="Pixels of the shorter side below which an image is small.")]
_WeightsOption = Annotated[
    Any,
    typer.Option(
        parser=as_place,
        metavar="DIR",
        help="Folder of <architecture>.safetensors, or s3://..., whose features confirm near-duplicates and rank "
        "labels; by default data.weights_dir of a sweep file.",
        show_default=False,
    ),
]


class _Cleaned(NamedTuple):
    """_Cleaned: what --fix writes."""

    kept: int
    excluded: int
    files: dict[str, str]
    """Texts of clean.csv and excluded.csv by their names."""


def check(
    data: NamedDataArgument,
    root: RootOption = None,
    set_: SetOption = None,
    out: _OutOption = Path(),
    weights: _WeightsOption = None,
    min_size: _SizeOption = 64,
    fix: Annotated[
        bool,
        typer.Option(
            "--fix", help="Write clean.csv, a manifest of what a sweep can use, and excluded.csv with reasons."
        ),
    ] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Look for everything that is wrong with a data set: files, duplicates, classes, splits. It changes nothing.

    Exit code 0: clean, or warnings; 1: findings that a sweep refuses; 2: it could not look.
    """
    from analysis.data_page.page import render_data_page
    from orchestrator.spec.named_data import data_to_check
    from orchestrator.terminal.findings_text import findings_lines
    from trainables.data.check.check import check_data
    from trainables.data.check.records import check_json, findings_csv

    named = data_to_check(data, set_ or [], weights, root)
    config = named.data
    if config.manifest is None:
        check_outside("--out", out, config.root)
    embed = None if config.weights_dir is None else _embedding(named)
    with decoding_bar() as on_decoding:
        found = check_data(config, cache=named.cache, min_size=min_size, embed=embed, on_progress=on_decoding)
    files = {"findings.csv": findings_csv(found), "data.html": render_data_page(found, config.max_pixels)}
    cleaned = _cleaned(found) if fix else None
    with writing("--out", out):
        write_together(out, files if cleaned is None else files | cleaned.files)
    if format is Format.JSON:
        print_json(check_json(found))
    else:
        for line in findings_lines(found.findings):
            prose(output, line)
        _tell(found, out, named)
    if cleaned is not None:
        _tell_fixed(found, cleaned, out)
    if found.is_refused:
        raise typer.Exit(1)


def _embedding(named: "NamedData") -> "Embed":
    """Return the function that computes the features of images with the weights at hand."""
    from trainables.data.node_cache import NodeCache
    from trainables.data.preprocess import load_image
    from trainables.estimate.photo_features import photo_features, probe_architecture

    data, cache = named.data, NodeCache(named.cache, named.budget)
    if data.weights_dir is not None:
        probe_architecture(data.weights_dir)  # refused before the images are decoded

    def embed(root: Path, images: "Sequence[Inspected]") -> "Features":
        def decode(index: int) -> "Pixels":
            path = images[index].entry.path
            return load_image(
                read_user_file(root / path, IMAGE), path, data.image_size, data.resize_mode, data.max_pixels
            )

        identity = hashlib.sha256(b"".join(image.digest for image in images)).hexdigest()
        return photo_features(data, len(images), decode, identity, cache)

    return embed


def _tell(found: "DataCheck", out: Path, named: "NamedData") -> None:
    """Print the number of images, the verdict, the files that were written, and the division of photos in no split."""
    classes = {image.entry.label for image in found.images}
    images, kinds = counted(len(found.images), "image"), counted(len(classes), "class", "classes")
    counts = f"{images} of {kinds}, {counted(len(found.findings), 'finding')}"
    verdict = "a sweep would refuse this data" if found.is_refused else "a sweep would begin with this data"
    if not found.has_features:
        counts += "; without --weights: only near-duplicates that are sure, no labels to look at"
    prose(errors, f"\n{counts}\n{verdict}\nwrote {escaped(out / 'data.html')} and findings.csv")
    if named.data.split is not None and "split" in named.settings:
        shares = named.data.split.model_dump(include={"val", "test", "seed"})
        text = ", ".join(f"{name}: {value}" for name, value in shares.items())
        prose(errors, f"in no split: checked as a sweep divides the images with data.split: {{{text}}}")


def _cleaned(found: "DataCheck") -> _Cleaned:
    from trainables.data.check.clean_manifest import clean_manifest, excluded_csv, manifest_csv

    kept, excluded = clean_manifest(found)
    return _Cleaned(
        len(kept), len(excluded), {"clean.csv": manifest_csv(kept), "excluded.csv": excluded_csv(found, excluded)}
    )


def _tell_fixed(found: "DataCheck", cleaned: _Cleaned, out: Path) -> None:
    """Print how the clean manifest is used, or what a sweep would still refuse of it."""
    from trainables.data.readers import open_dataset

    prose(
        errors,
        f"wrote {escaped(out / 'clean.csv')} with {counted(cleaned.kept, 'image')}, and excluded.csv with "
        f"{cleaned.excluded:,} and reasons",
    )
    try:
        open_dataset(found.root, out / "clean.csv")
    except InvalidInput as error:
        warn_of([f"clean.csv cannot be used yet: {error}"])
    else:
        prose(errors, f"use it: data: {{root: {escaped(found.root)}, manifest: {escaped(out / 'clean.csv')}}}")
