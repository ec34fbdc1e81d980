import hashlib
import io
import json
import subprocess
import sys
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from search_spaces.errors import InvalidInput
from trainables.data.preprocess import PAD_COLOR, Preprocessing, ResizeMode, decode, load_image, normalize, resize
from trainables.data_config import DEFAULT_MAX_PIXELS

modes = st.sampled_from(["crop", "squash", "pad"])
fractions = st.floats(0.01, 1)
triples = st.tuples(fractions, fractions, fractions)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 64), modes)
def test_any_image_becomes_the_square(width, height, size, mode):
    pixels = resize(Image.new("RGB", (width, height), (10, 200, 30)), size, mode)
    assert pixels.shape == (size, size, 3)
    assert pixels.dtype == np.uint8
    colours = {tuple(colour) for colour in pixels.reshape(-1, 3).tolist()}
    assert (10, 200, 30) in colours
    assert colours <= ({(10, 200, 30), PAD_COLOR} if mode == "pad" else {(10, 200, 30)})


@pytest.mark.parametrize("wide", [True, False])
def test_modes_keep_what_they_promise(wide):
    thirds = np.zeros((30, 90, 3), dtype=np.uint8)
    for third, channel in enumerate(range(3)):
        thirds[:, 30 * third : 30 * (third + 1), channel] = 255
    image = Image.fromarray(thirds if wide else thirds.transpose(1, 0, 2))
    across = (slice(None), 15) if not wide else (15, slice(None))
    crop = resize(image, 30, "crop")
    assert (crop[4:-4, 4:-4] == (0, 255, 0)).all()
    squashed = resize(image, 30, "squash")[across]
    assert squashed[[4, 15, 25]].argmax(axis=1).tolist() == [0, 1, 2]
    padded = resize(image, 30, "pad")
    outside = padded[[0, 9, 20, 29], :] if wide else padded[:, [0, 9, 20, 29]]
    assert (outside == PAD_COLOR).all()
    assert padded[across][[4, 15, 25]].argmax(axis=1).tolist() == [0, 1, 2]


def test_crop_is_resize_then_centre_crop():
    noise = np.random.default_rng(0).integers(0, 256, (60, 100, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    whole = image.resize((50, 30), Image.Resampling.BICUBIC)
    expected = np.asarray(whole.crop((10, 0, 40, 30))).astype(int)
    assert np.abs(resize(image, 30, "crop") - expected).max() <= 1


def test_the_pixels_are_the_same_in_every_version_of_pillow():
    """One call of `resize` takes another order from Pillow 13 on; these are the pixels of 11.0, 12.0 and 13.0."""
    noise = np.random.default_rng(0).integers(0, 256, (384, 512, 3), dtype=np.uint8)
    seen = b"".join(resize(Image.fromarray(noise), 128, mode).tobytes() for mode in get_args(ResizeMode))
    assert hashlib.sha256(seen).hexdigest()[:16] == "343c94c3e355f447"


def test_downscaling_is_antialiased():
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    inner = resize(Image.fromarray(stripes), 8, "squash")[:, 1:-1]
    assert np.abs(inner.astype(int) - 127).max() < 6


def test_a_panorama_needs_no_long_image_in_between():
    assert resize(Image.new("RGB", (1, 60_000)), 512, "crop").shape == (512, 512, 3)
    assert resize(Image.new("RGB", (60_000, 1)), 512, "crop").shape == (512, 512, 3)


def test_an_unknown_mode_is_refused():
    with pytest.raises(
        InvalidInput, match="resize_mode must be one of crop, squash, pad, got 'crops'; did you mean crop"
    ):
        resize(Image.new("RGB", (4, 4)), 4, "crops")


def test_load_is_decode_then_resize():
    data = _png(Image.effect_noise((40, 20), 60))
    np.testing.assert_array_equal(load_image(data, "a", 16, "pad"), resize(decode(data, "a"), 16, "pad"))


def test_normalize_agrees_with_the_formula():
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3), dtype=np.uint8)
    before = images.copy()
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    result = normalize(images, mean, std)
    assert result.dtype == np.float32
    assert result.flags.c_contiguous
    np.testing.assert_allclose(result, ((images / 255 - mean) / std).transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(images, before)


@given(st.integers(1, 1024), modes, triples, triples)
def test_json_round_trip(size, mode, mean, std):
    preprocessing = Preprocessing(size, mode, mean, std)
    assert Preprocessing.from_json(json.loads(json.dumps(preprocessing.to_json()))) == preprocessing


def test_a_preprocessing_is_a_function_of_bytes():
    preprocessing = Preprocessing(24, "crop", (0.5, 0.5, 0.5), (0.25, 0.5, 1.0))
    result = preprocessing(_png(Image.new("RGB", (50, 30), "white")), "white.png")
    assert result.shape == (3, 24, 24)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[:, 0, 0], (2, 1, 0.5))
    with pytest.raises(InvalidInput, match=r"^broken.png: image must be complete"):
        preprocessing(b"broken", "broken.png")


GOOD = {"image_size": 8, "resize_mode": "pad", "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 0}, "image_size must be a whole number from 1, got 0"),
        ({"image_size": "8"}, "image_size must be a whole number from 1, got '8'"),
        ({"resize_mode": "cut"}, "resize_mode must be one of crop, squash, pad, got 'cut'"),
        ({"mean": [0.5]}, "mean and std .three numbers each., got"),
        ({"mean": None}, "mean and std .three numbers each., got"),
        ({"mean": [0.5, float("nan"), 0]}, "mean must be three finite numbers, got"),
        ({"std": [0.5, 0, 0.5]}, "std must be above 0, got"),
    ],
)
def test_what_is_no_preprocessing_is_refused(change, message):
    assert Preprocessing.from_json({**GOOD, "of_a_later_version": 1}).image_size == 8
    with pytest.raises(InvalidInput, match=f"^preprocessing: .*{message}"):
        Preprocessing.from_json({**GOOD, **change})
    with pytest.raises(InvalidInput, match="needs image_size, resize_mode, mean and std"):
        Preprocessing.from_json({name: GOOD[name] for name in GOOD if name not in change})


def test_the_limit_of_pixels_travels_with_the_model():
    assert Preprocessing.from_json(GOOD).max_pixels == DEFAULT_MAX_PIXELS, "of an older version"
    lowered = Preprocessing.from_json({**GOOD, "max_pixels": 99})
    with pytest.raises(InvalidInput, match=r"^a.png: .*100 pixels.* exceeds limit of 99"):
        lowered(_png(Image.new("RGB", (10, 10))), "a.png")
    with pytest.raises(InvalidInput, match="preprocessing: max_pixels must be a whole number from 1, got 0"):
        Preprocessing.from_json({**GOOD, "max_pixels": 0})


def test_it_imports_nothing_heavy():
    heavy = ("torch", "ray", "pandas", "sklearn")
    code = f"import sys, trainables.data.preprocess; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
