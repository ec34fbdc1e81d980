"""Parquet files of images, as Hugging Face writes them: a column of bytes, and a column of classes.

Hugging Face Datasets, "Image dataset features": `image: {bytes, path}`, and a ClassLabel whose names stand in the
schema's metadata `huggingface`.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, UnidentifiedImageError

from search_spaces.errors import InvalidInput, shown
from search_spaces.user_files import open_user_file
from trainables.data.node_cache import Progress
from trainables.data.sources.class_names import check_distinct
from trainables.data.sources.containers import UnpackedImages, unpacked
from trainables.data.sources.listing import Listing
from trainables.data.sources.manifest_table import usual_words
from trainables.data.sources.source_files import BucketFiles, DiskFiles, SourceFile
from trainables.data.sources.user_errors import PARQUET, reading_errors

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET_ENDINGS = (".parquet",)

_ROWS = 64


def read_parquet(
    source: DiskFiles | BucketFiles, used: Sequence[str], cache: Path, on_progress: Progress | None = None
) -> Listing:
    """List the images of the Parquet files of a data set, in the order of the files' names and of their rows.

    Splits are those of the files' names. Raises InvalidInput for what cannot be read.
    """
    from pyarrow.lib import ArrowException

    files = [file for file in source.files if file.name.lower().endswith(PARQUET_ENDINGS)]
    if not files:
        raise InvalidInput(
            f"{source.place}: format parquet needs files like train-00000-of-00001.parquet, in data.root or in its "
            "folder data/, got none; check data.root, or set data.format: auto"
        )

    def unpack(path: Path, file: SourceFile, split: str | None, images: UnpackedImages) -> None:
        where = f"{source.place}/{file.name}"
        with reading_errors(where, ArrowException):
            _unpack(path, where, split, images)

    return unpacked(source, "parquet", files, used, unpack, cache, sum(file.size for file in files), (), on_progress)


@dataclass(frozen=True)
class _Columns:
    """Columns of images and classes."""

    image: str
    label: str
    names: Sequence[str] | None
    """Class of each number."""


def _unpack(path: Path, where: str, split: str | None, images: UnpackedImages) -> None:
    import pyarrow.parquet as pq

    incoming, row = images.scratch(), 0
    with open_user_file(path, PARQUET) as opened, pq.ParquetFile(opened) as table:
        columns = _columns(where, table.schema_arrow)
        for batch in table.iter_batches(_ROWS, columns=[columns.image, columns.label]):
            for image, label in zip(batch[columns.image].to_pylist(), batch[columns.label].to_pylist(), strict=True):
                content, name = _content(f"{where}: row {row}", image, row)
                target = incoming / "image"
                target.write_bytes(content)
                images.add(target, where, name, _label(f"{where}: row {row}", label, columns.names), split)
                row += 1


def _columns(where: str, schema: "pa.Schema") -> _Columns:
    """Return the columns, by their features or by usual words. Raises InvalidInput where there is not one of each."""
    features = _features(where, schema)
    kinds = {name: feature.get("_type") for name, feature in features.items() if isinstance(feature, Mapping)}
    images = [name for name in schema.names if kinds.get(name) == "Image" or _holds_bytes(schema.field(name).type)]
    labels = [name for name in schema.names if kinds.get(name) == "ClassLabel"]
    if len(labels) != 1:
        labels = [schema.names[place] for place in usual_words("label", schema.names)]
    image = _one(where, "image", "of images ({bytes, path})", images, schema.names)
    label = _one(where, "label", "of classes", labels, schema.names)
    names = features.get(label, {}).get("names") if kinds.get(label) == "ClassLabel" else None
    if names is not None:
        check_distinct(f"{where}: ClassLabel of {label}", names)
    return _Columns(image, label, names)


def _one(where: str, word: str, what: str, found: Sequence[str], columns: Sequence[str]) -> str:
    if len(found) > 1 and word in found:
        return word
    if len(found) != 1:
        raise InvalidInput(
            f"{where}: must have one column {what}, got {' and '.join(found) or 'none'} among {', '.join(columns)}; "
            f"name the right one {word}, e.g. with `datasets.Dataset.rename_column`"
        )
    return found[0]


def _features(where: str, schema: "pa.Schema") -> Mapping[str, Any]:
    """Return what Hugging Face says of each column; nothing in a file of another writer."""
    document = (schema.metadata or {}).get(b"huggingface")
    if document is None:
        return {}
    try:
        return dict(json.loads(document)["info"]["features"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"{where}: the schema's metadata huggingface must be a JSON document with info.features, got "
            f"{shown(document)}; write the file anew with the library datasets"
        ) from error


def _holds_bytes(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _content(where: str, image: Any, row: int) -> tuple[bytes, str]:
    """Return the bytes of an image, and its name: that of its path, or its row with the ending of its format."""
    content = image.get("bytes") if isinstance(image, Mapping) else image
    if not isinstance(content, bytes) or not content:
        raise InvalidInput(
            f"{where}: every image must be in the file, got {shown(image)}; write the file anew with the bytes of the "
            "images (`embed_external_files`)"
        )
    path = image.get("path") if isinstance(image, Mapping) else None
    if path:
        return content, path
    try:
        with Image.open(io.BytesIO(content)) as opened:
            return content, f"{row:06d}.{(opened.format or 'image').lower()}"
    except UnidentifiedImageError:  # named when it is decoded
        return content, f"{row:06d}"


def _label(where: str, value: Any, names: Sequence[str] | None) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        if names is None and value >= 0:
            return str(value)
        if names is not None and 0 <= value < len(names):
            return str(names[value])
        rule = "a number from 0" if names is None else f"a number from 0 to {len(names) - 1}"
        raise InvalidInput(
            f"{where}: label must be {rule}, got {value}; correct it, or leave a test without labels out with "
            "`data.test: none`"
        )
    if not isinstance(value, str) or not value.strip():
        raise InvalidInput(
            f"{where}: label must be a name or a number, got {shown(value)}; name the class, or leave the row out"
        )
    return value.strip()
