from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from trainables.data.digits import write_digits
from trainables.data.readers import open_dataset


def test_every_digit_once_divided_by_class(tmp_path: Path) -> None:
    counts = write_digits(tmp_path)
    dataset = open_dataset(tmp_path)
    assert counts == {"train": 1257, "val": 270, "test": 270}
    assert {split: len(samples) for split, samples in dataset.splits.items()} == counts
    assert dataset.classes == tuple("0123456789")
    names = [Path(sample.path).stem for samples in dataset.splits.values() for sample in samples]
    assert sorted(map(int, names)) == list(range(1797))
    shares = [np.bincount(dataset.labels(split)) / counts[split] for split in counts]
    assert np.ptp(shares, axis=0).max() < 0.01


def test_the_images_are_the_digits(tmp_path: Path) -> None:
    write_digits(tmp_path, keep={**dict.fromkeys(range(10), 0.0), 3: 0.2, 8: 0.2})
    digits = load_digits()
    for path in tmp_path.rglob("*.png"):
        with Image.open(path) as image:
            assert (image.size, image.mode) == ((32, 32), "L")
            pixels = np.asarray(image.resize((8, 8), Image.Resampling.BOX), dtype=float)
        original = digits.images[int(path.stem)]
        assert int(path.parent.name) == digits.target[int(path.stem)]
        assert np.corrcoef(pixels.ravel(), original.ravel())[0, 1] > 0.95


def test_classes_can_be_made_rare_and_the_same_files_are_written_again(tmp_path: Path) -> None:
    counts = write_digits(tmp_path / "a", keep={0: 0.1})
    assert write_digits(tmp_path / "b", keep={0: 0.1}) == counts
    a, b = (sorted(path.relative_to(tmp_path / d) for path in (tmp_path / d).rglob("*.png")) for d in "ab")
    assert a == b
    labels = open_dataset(tmp_path / "a").labels("train")
    assert np.bincount(labels)[0] < 0.2 * np.bincount(labels)[1:].min()
