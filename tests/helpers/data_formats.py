"""The same photos in every format that is read: plain folders, and how each other format is written from them."""

import csv
import io
import json
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from sklearn.datasets import load_digits

CLASSES = ("cat", "dog")
HUGGING_FACE = {"val": "validation"}


def write_folders(root: Path, splits: dict[str, int]) -> Path:
    """Write so many digits of each class to every split, `""` for none; a few lie one folder deeper."""
    images, number = load_digits().images, 0
    for split, count in splits.items():
        for label in CLASSES:
            for index in range(count):
                inner = "more/" if index % 4 == 3 else ""
                path = root / split / label / f"{inner}{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray((images[number] * 15).astype(np.uint8)).save(path)
                number += 1
    return root


def photos_of(root: Path) -> list[tuple[str, str, str]]:
    """Return path, label and split of each photo in folders."""
    paths = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    labels = [next(part for part in path.split("/") if part in CLASSES) for path in paths]
    splits = [path.partition("/")[0] if path.partition("/")[0] not in CLASSES else "" for path in paths]
    return list(zip(paths, labels, splits, strict=True))


def _copy(root: Path, target: Path) -> None:
    for path, _, _ in photos_of(root):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_bytes((root / path).read_bytes())


def _table(rows: Iterable[dict[str, str]], delimiter: str = ",") -> str:
    rows, text = list(rows), io.StringIO()
    writer = csv.DictWriter(text, [*rows[0]], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(path: str, label: str, split: str, name: str) -> dict[str, str]:
    return {name: path, "label": label, **({"split": split} if split else {})}


def as_folders(root: Path, target: Path) -> dict[str, Any]:
    """Copy the folders."""
    _copy(root, target)
    return {}


def as_csv(root: Path, target: Path) -> dict[str, Any]:
    """Write a CSV manifest."""
    _copy(root, target)
    (target / "all.csv").write_text(_table(_row(*each, "path") for each in photos_of(root)))
    return {"manifest": target / "all.csv"}


def as_tsv(root: Path, target: Path) -> dict[str, Any]:
    """Write a TSV manifest."""
    _copy(root, target)
    (target / "all.tsv").write_text(_table((_row(*each, "filename") for each in photos_of(root)), "\t"))
    return {"manifest": target / "all.tsv"}


def as_metadata_csv(root: Path, target: Path) -> dict[str, Any]:
    """Write an image folder of Hugging Face with one table at the top."""
    _copy(root, target)
    (target / "metadata.csv").write_text(_table(_row(*each, "file_name") for each in photos_of(root)))
    return {"format": "huggingface"}


def as_metadata_lines(root: Path, target: Path) -> dict[str, Any]:
    """Write an image folder of Hugging Face with one list per split."""
    _copy(root, target)
    for split in {split for _, _, split in photos_of(root)}:
        rows = [(path, label) for path, label, own in photos_of(root) if own == split]
        lines = [json.dumps({"file_name": path.removeprefix(f"{split}/"), "label": label}) for path, label in rows]
        (target / split / "metadata.jsonl").write_text("\n".join(lines))
    return {"format": "huggingface"}


def as_parquet(root: Path, target: Path) -> dict[str, Any]:
    """Write two Parquet files of Hugging Face per split, with class names in the schema."""
    features = {"image": {"_type": "Image"}, "label": {"names": [*CLASSES], "_type": "ClassLabel"}}
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    schema = pa.schema(
        {"image": kind, "label": pa.int64()}, {"huggingface": json.dumps({"info": {"features": features}})}
    )
    (target / "data").mkdir(parents=True)
    for split in {split for _, _, split in photos_of(root)}:
        rows = [
            {"image": {"bytes": (root / path).read_bytes(), "path": path}, "label": CLASSES.index(label)}
            for path, label, own in photos_of(root)
            if own == split
        ]
        for shard in range(2):
            name = f"{HUGGING_FACE.get(split, split) or 'all'}-{shard:05d}-of-00002.parquet"
            pq.write_table(pa.Table.from_pylist(rows[shard::2], schema), target / "data" / name)
    return {}


def write_tar(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Write a tar archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def as_shards(root: Path, target: Path) -> dict[str, Any]:
    """Write two tar shards per split, with the number of the class in a file beside each image."""
    for split in {split for _, _, split in photos_of(root)}:
        rows = [(path, label) for path, label, own in photos_of(root) if own == split]
        for shard in range(2):
            members = [
                member
                for path, label in rows[shard::2]
                for member in (
                    (f"{path.removesuffix('.png')}.cls", str(CLASSES.index(label)).encode()),
                    (path, (root / path).read_bytes()),
                )
            ]
            write_tar(target / f"{split or 'all'}-{shard:06d}.tar", members)
    (target / "classes.txt").write_text("\n".join(CLASSES))
    return {}


def as_tar_of_folders(root: Path, target: Path) -> dict[str, Any]:
    """Write one tar archive of the folders as they are."""
    write_tar(target / "photos.tar", [(f"./{path}", (root / path).read_bytes()) for path, _, _ in photos_of(root)])
    return {}


FORMATS: dict[str, Callable[[Path, Path], dict[str, Any]]] = {
    "folders": as_folders,
    "csv": as_csv,
    "tsv": as_tsv,
    "metadata.csv": as_metadata_csv,
    "metadata.jsonl": as_metadata_lines,
    "parquet": as_parquet,
    "shards": as_shards,
    "tar of folders": as_tar_of_folders,
}
"""Writers of a format by its name: from folders, to an empty folder; they return the settings of `data` to add."""
