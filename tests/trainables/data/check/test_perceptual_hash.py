"""The perceptual hash: near for the same picture, far for another, and exact."""

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn

from trainables.data.check.perceptual_hash import hash_of_file, perceptual_hash, telling_hash


@pytest.fixture(scope="module")
def scenes() -> list[Image.Image]:
    """Smooth pictures, as photos are: noise of 8 x 6 pixels, enlarged."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 6, 8, 3), dtype=np.uint8)
    return [Image.fromarray(each).resize((320, 240), Image.Resampling.BICUBIC) for each in noise]


def distance(first: Image.Image, second: Image.Image) -> int:
    return (perceptual_hash(first) ^ perceptual_hash(second)).bit_count()


def resized(image: Image.Image) -> Image.Image:
    half = image.reduce(2)  # of 240 lines: 120 are three times 32 and more
    return half.resize((32, half.height), Image.Resampling.BICUBIC).resize((32, 32), Image.Resampling.BICUBIC)


def jpeg(image: Image.Image, quality: int = 90, **settings) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, **settings)
    return out.getvalue()


def test_it_is_the_sign_of_scipys_cosine_transform_against_the_median(scenes) -> None:
    for image in scenes:
        pixels = np.asarray(resized(image.convert("L")), dtype=np.float64)
        low = dctn(pixels, 2)[:8, :8]
        expected = "".join("01"[bool(bit)] for bit in (low > np.median(low)).ravel())
        assert f"{perceptual_hash(image):064b}" == expected


def test_the_same_picture_is_near_and_another_is_far(scenes) -> None:
    for image in scenes:
        smaller = image.resize((160, 120), Image.Resampling.BICUBIC)
        brighter = image.point(lambda value: value * 0.8 + 20)
        assert max(distance(image, other) for other in (smaller, brighter)) <= 4
        assert (hash_of_file(jpeg(image, 60)) ^ perceptual_hash(image)).bit_count() <= 4
    far = [distance(first, second) for first, second in itertools.pairwise(scenes)]
    assert min(far) > 12


def test_the_hash_of_a_file_is_of_its_upright_pixels(scenes, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = scenes[0].rotate(-90, expand=True)
    assert (hash_of_file(jpeg(scenes[0], exif=exif)) ^ perceptual_hash(upright)).bit_count() <= 4
    large = scenes[0].resize((3200, 2400), Image.Resampling.BICUBIC)
    assert (hash_of_file(jpeg(large)) ^ perceptual_hash(scenes[0])).bit_count() <= 4, "decoded at an eighth"


def test_hashes_are_the_same_in_every_version(scenes) -> None:
    """They decide how a data set is divided."""
    assert [perceptual_hash(image) for image in scenes[:2]] == [0xFC9848E313C4AE3B, 0x813E0ABF4140FE9F]
    assert perceptual_hash(Image.new("RGB", (50, 40), "white")) == 2**63
    assert perceptual_hash(Image.new("RGB", (50, 40))) == 0


def test_a_file_that_cannot_be_decoded_has_none(scenes) -> None:
    data = jpeg(scenes[0])
    assert hash_of_file(b"no image") is None
    assert telling_hash(Image.new("RGB", (50, 40), "white")) is None, "of one color"
    assert telling_hash(scenes[0].resize((31, 40))) is None, "too small"
    assert telling_hash(scenes[0]) == perceptual_hash(scenes[0])
    assert hash_of_file(data[: len(data) // 2]) is None
