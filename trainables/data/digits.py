"""scikit-learn's 1,797 handwritten digits as an ImageFolder: real images that need no download."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SCALE = 4
SEED = 0


def write_digits(folder: Path, keep: dict[int, float] | None = None) -> dict[str, int]:
    """Write `train/ val/ test/` (70/15/15, stratified, 32 x 32 pixels) below `folder`; returns images a split.

    `keep` maps a digit to the share of its images that is kept, to make the classes imbalanced.
    """
    digits = load_digits()
    rng = np.random.Generator(np.random.PCG64(SEED))
    share = np.array([(keep or {}).get(digit, 1.0) for digit in range(10)])
    chosen = np.flatnonzero(rng.random(len(digits.target)) < share[digits.target])
    train, rest = train_test_split(chosen, test_size=0.3, stratify=digits.target[chosen], random_state=SEED)
    val, test = train_test_split(rest, test_size=0.5, stratify=digits.target[rest], random_state=SEED)
    for split, indices in (("train", train), ("val", val), ("test", test)):
        for index in indices:
            path = folder / split / str(digits.target[index]) / f"{index:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = (digits.images[index] * 255 / 16).astype(np.uint8)
            side = pixels.shape[0] * SCALE
            Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(path)
    return {"train": len(train), "val": len(val), "test": len(test)}
