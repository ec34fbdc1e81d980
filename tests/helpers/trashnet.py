"""Photos of trashnet6, a data set of real photos beside the checkout."""

import os
import tarfile
from pathlib import Path

import pytest

ASSETS = Path(os.environ.get("THAW_TEST_ASSETS", Path(__file__).parents[3] / "shared"))


def trashnet_photos(count: int) -> list[tuple[str, bytes]]:
    """So many photos of the validation split, from all classes; skip the test where there are none."""
    archive = ASSETS / "data" / "trashnet6.tar"
    if not archive.is_file():
        pytest.skip(f"no {archive}: set THAW_TEST_ASSETS to the folder that holds data/trashnet6.tar")
    with tarfile.open(archive) as tar:
        members = [m for m in tar.getmembers() if m.isfile() and m.name.startswith("trashnet6/val/")]
        chosen = members[:: max(1, len(members) // count)][:count]
        return [(member.name, tar.extractfile(member).read()) for member in chosen]  # type: ignore[union-attr]
