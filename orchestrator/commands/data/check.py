"""Command data check: everything that is wrong with a data set, at once."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.data.arguments import NamedDataArgument, RootOption
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
    writing,
)
from search_spaces.errors import InvalidInput
from search_spaces.paths import as_path
from search_spaces.user_files import IMAGE, read_user_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.spec.named_data import NamedData
    from trainables.data.check.check import DataCheck, Embed
    from trainables.data.check.inspection import Inspected
    from trainables.data.check.near_groups import Features
    from trainables.data.lazy_images import Pixels
    from trainables.storage.place import Place

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
    Path | None,
    typer.Option(
        parser=as_path,
        metavar="DIR",
        help="Folder of <architecture>.safetensors, whose features confirm near-duplicates and rank labels; by default "
        "data.weights_dir of a sweep file.",
        show_default=False,
    ),
]


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
        _check_outside(out, config.root)
    embed = None if config.weights_dir is None else _embedding(named)
    with decoding_bar() as on_decoding:
        found = check_data(config, cache=named.cache, min_size=min_size, embed=embed, on_progress=on_decoding)
    with writing("--out", out):
        out.mkdir(parents=True, exist_ok=True)
        (out / "findings.csv").write_text(findings_csv(found), encoding="utf-8", errors="backslashreplace")
        (out / "data.html").write_text(render_data_page(found, config.max_pixels), encoding="utf-8")
        kept = _write_manifest(found, out) if fix else None
    if format is Format.JSON:
        print_json(check_json(found))
    else:
        for line in findings_lines(found.findings):
            prose(output, line)
        _tell(found, out, named)
    if kept is not None:
        _tell_fixed(found, out, kept)
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


def _check_outside(out: Path, root: "Place") -> None:
    if isinstance(root, Path) and out.resolve().is_relative_to(root.resolve()):
        raise InvalidInput(
            f"--out: must be a folder outside the data, got {out.resolve()} in {root}; run it elsewhere, or name "
            "another folder with --out"
        )


def _tell(found: "DataCheck", out: Path, named: "NamedData") -> None:
    """Print the number of images, the verdict, the files that were written, and the division of photos in no split."""
    classes = {image.entry.label for image in found.images}
    counts = f"{len(found.images):,} images of {len(classes)} classes, {len(found.findings):,} findings"
    verdict = "a sweep would refuse this data" if found.is_refused else "a sweep would begin with this data"
    if not found.has_features:
        counts += "; without --weights: only near-duplicates that are sure, no labels to look at"
    prose(errors, f"\n{counts}\n{verdict}\nwrote {escaped(out / 'data.html')} and findings.csv")
    if named.data.split is not None and "split" in named.settings:
        shares = named.data.split.model_dump(include={"val", "test", "seed"})
        text = ", ".join(f"{name}: {value}" for name, value in shares.items())
        prose(errors, f"in no split: checked as a sweep divides the images with data.split: {{{text}}}")


def _write_manifest(found: "DataCheck", out: Path) -> int:
    """Write clean.csv and excluded.csv; return the number of images that are kept."""
    from trainables.data.check.clean_manifest import clean_manifest, excluded_csv, manifest_csv

    kept, excluded = clean_manifest(found)
    (out / "clean.csv").write_text(manifest_csv(kept), encoding="utf-8", errors="backslashreplace")
    (out / "excluded.csv").write_text(excluded_csv(found, excluded), encoding="utf-8", errors="backslashreplace")
    return len(kept)


def _tell_fixed(found: "DataCheck", out: Path, kept: int) -> None:
    """Print how the clean manifest is used, and what a sweep would still refuse of it."""
    from trainables.data.readers import SPLITS, open_dataset
    from trainables.data_config import SplitShares

    has_splits = any(image.entry.split is not None for image in found.images)
    left = len(found.images) - kept
    prose(
        errors, f"wrote {escaped(out / 'clean.csv')} with {kept:,} images, and excluded.csv with {left:,} and reasons"
    )
    prose(errors, f"use it: data: {{root: {escaped(found.root)}, manifest: {escaped(out / 'clean.csv')}}}")
    try:
        open_dataset(found.root, out / "clean.csv", SPLITS, None if has_splits else SplitShares())
    except InvalidInput as error:
        warn_of([f"clean.csv cannot be used yet: {error}"])
