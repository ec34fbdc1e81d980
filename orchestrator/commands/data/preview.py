"""Command data preview: the input of training as a picture."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
from search_spaces.errors import BadImages, InvalidInput
from search_spaces.paths import as_path

if TYPE_CHECKING:
    from trainables.data.readers import Dataset

_DataArgument = Annotated[
    Path,
    typer.Argument(
        parser=as_path, metavar="FILE", help="A sweep file or a trial's file; its `data` and seed are what counts."
    ),
]
_PictureOption = Annotated[
    Path,
    typer.Option(parser=as_path, metavar="PATH", help="The picture to write, a PNG file; replaced where there is one."),
]
IMAGES = 8
BATCHES = 10


def preview(
    file: _DataArgument,
    set_: SetOption = None,
    out: _PictureOption = Path("preview.png"),
    format: FormatOption = Format.TABLE,
) -> None:
    """Show the input of training: a batch under each augmentation, and the classes of the first batches."""
    from dataclasses import asdict

    from orchestrator.spec.loading import load_data
    from orchestrator.spec.sections import cache_budget
    from orchestrator.terminal.tables import class_table
    from trainables.data.arrays import decode_rest, load_arrays
    from trainables.data.preview import count_batches, picture_data
    from trainables.storage.folders import cache_folder

    settings, storage = load_data(file, set_ or [])
    if out.suffix.lower() != ".png" or out.is_dir():
        raise InvalidInput(f"--out: must be a PNG file, got {out}; choose a name that ends in .png")
    if settings.data.manifest is None:  # a manifest's folder may hold more than its photos
        check_outside("--out", out, settings.data.root)
    cache, budget = cache_folder(storage.cache_dir), cache_budget(storage.cache_budget)
    with _bad_images_listed(format), decoding_bar() as on_decoding:
        arrays = load_arrays(settings.data, cache, None, on_decoding, budget)
        decode_rest(arrays, on_decoding)
    warn_of(arrays.remarks)
    _check_no_photo(out, arrays.dataset)
    counts = count_batches(
        arrays.dataset.labels("train"),
        arrays.classes,
        weighting=settings.class_weighting,
        batch_size=settings.batch_size,
        seed=settings.seed,
        first=BATCHES,
    )
    image = picture_data(arrays, counts, seed=settings.seed, alpha=settings.mixing_alpha, columns=IMAGES)
    with writing("--out", out):
        out.parent.mkdir(parents=True, exist_ok=True)
        image.save(out, format="PNG")
    if format is Format.JSON:
        skipped = [item for images in arrays.dataset.skipped.values() for item in images.items()]
        bad = [{"path": arrays.dataset.named(path), "error": error} for path, error in skipped]
        print_json({"picture": str(out), **asdict(counts), "remarks": arrays.remarks, "bad_images": bad})
        return
    output.print(class_table(counts))
    prose(
        errors,
        f"\nnone, sampler: images in the first {counts.batches} batches of {counts.batch_size} under `balance`\n"
        f"wrote {escaped(out)}: a batch under each augmentation, and these counts",
    )


def _check_no_photo(out: Path, dataset: "Dataset") -> None:
    """Raise InvalidInput where the picture would replace a photo, also one that the data set has as a link."""
    samples = (sample for own in dataset.splits.values() for sample in own)
    if out.exists() and any((dataset.root / sample.path).samefile(out) for sample in samples):
        raise InvalidInput(f"--out: must not be a photo of the data, got {out}; choose another place")


@contextmanager
def _bad_images_listed(format: Format) -> Iterator[None]:
    """Print all bad images as JSON where that is asked for: the message names ten."""
    try:
        yield
    except BadImages as error:
        if format is Format.JSON:
            print_json({"bad_images": [{"path": path, "error": text} for path, text in error.faults.items()]})
        raise
