"""A second task, of another distribution: by how many degrees a handwritten digit was turned."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainables.data.digits import write_digits


@pytest.fixture(scope="session")
def rotation_distribution() -> Path:
    """The folder of a distribution that installs the task `rotation`, for PYTHONPATH or sys.path."""
    return Path(__file__).parent / "rotation"


@pytest.fixture(scope="session")
def turned_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits 4 and 7, turned by up to 40 degrees; the file's name says by how many."""
    root, chance = tmp_path_factory.mktemp("turned") / "digits", np.random.default_rng(0)
    write_digits(root, keep={**dict.fromkeys(range(10), 0.0), 4: 0.3, 7: 0.3})
    for number, path in enumerate(sorted(root.rglob("*.png"))):
        angle = int(chance.integers(-40, 41))
        with Image.open(path) as image:
            turned = image.rotate(angle, Image.Resampling.BILINEAR)
        turned.save(path.with_name(f"{number}_{angle}.png"))
        path.unlink()
    return root
