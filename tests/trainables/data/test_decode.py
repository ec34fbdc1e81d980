import io
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from search_spaces.errors import InvalidInput
from trainables.data.decode import decode, largest_of_sixteen_bits


def _bytes(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **{"format": kind, **options})
    return buffer.getvalue()


def _pixel(data: bytes, x: int = 0, y: int = 0) -> tuple[int, ...]:
    image = decode(data, "image")
    assert image.mode == "RGB"
    return image.getpixel((x, y))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "GIF", "TIFF", "JPEG"])
def test_every_format_gives_the_colour(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    pixel = _pixel(_bytes(Image.new("RGB", (16, 16), (200, 100, 50)), kind, **options))
    np.testing.assert_allclose(pixel, (200, 100, 50), atol=3)


# The stored pixels of one upright picture under each orientation, by turning the picture the opposite way.
_STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
@pytest.mark.parametrize("orientation", _STORED)
def test_photos_are_turned_upright_once(orientation, kind):
    upright = Image.new("RGB", (32, 16), "red")
    upright.paste("blue", (0, 0, 16, 16))
    upright.paste("green", (0, 0, 16, 8))
    turn = _STORED[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = upright if turn is None else upright.transpose(turn)
    decoded = decode(_bytes(stored, kind, exif=exif), "photo")
    assert decoded.size == (32, 16)
    difference = np.abs(np.asarray(decoded).astype(int) - np.asarray(upright))
    assert difference[[2, 12, 2], [4, 4, 28]].max() < 20


def test_a_damaged_exif_block_does_not_cost_the_image():
    data = _bytes(Image.new("RGB", (8, 8), "red"), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    assert _pixel(data)[0] > 250


def test_transparency_becomes_white():
    half = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    half.putpixel((0, 0), (255, 0, 0, 255))
    half.putpixel((1, 0), (0, 0, 0, 128))
    assert _pixel(_bytes(half, "PNG")) == (255, 0, 0)
    assert _pixel(_bytes(half, "PNG"), 3, 3) == (255, 255, 255)
    assert _pixel(_bytes(half, "PNG"), 1, 0)[0] in (126, 127, 128)
    assert _pixel(_bytes(Image.new("LA", (2, 2), (0, 0)), "PNG")) == (255, 255, 255)


@pytest.mark.parametrize("transparency", [0, bytes([0, 255])])
def test_a_transparent_palette_becomes_white(transparency):
    palette = Image.new("P", (2, 2))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 1), 1)
    data = _bytes(palette, "PNG", transparency=transparency)
    assert _pixel(data) == (255, 255, 255)
    assert _pixel(data, 1, 1) == (40, 50, 60)
    assert _pixel(_bytes(palette, "PNG")) == (10, 20, 30)


def test_grey_and_black_and_white():
    assert _pixel(_bytes(Image.new("L", (2, 2), 77), "PNG")) == (77, 77, 77)
    assert _pixel(_bytes(Image.new("1", (2, 2), 1), "PNG")) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_scale(kind):
    ramp = np.array([[0, 257 * 100, 65535, 128]], dtype=np.uint16)
    decoded = np.asarray(decode(_bytes(Image.fromarray(ramp), kind), "scan"))
    assert decoded[0, :, 0].tolist() == [0, 100, 255, 0]


def test_cmyk():
    np.testing.assert_allclose(
        _pixel(_bytes(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")), (255, 0, 0), atol=6
    )


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = _bytes(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert _pixel(data) == (255, 0, 0), kind


@pytest.mark.parametrize(
    ("data", "got"),
    [
        (b"", "0 bytes that are none of JPEG, PNG"),
        (b"<html>404</html>", "16 bytes that are none of"),
        (_bytes(Image.effect_noise((64, 64), 50), "JPEG")[:900], "OSError: .*truncated"),
        (_bytes(Image.effect_noise((64, 64), 50), "PNG")[:900], "OSError: .*truncated"),
        (_bytes(Image.new("F", (4, 4)), "TIFF"), "floating-point pixels have no agreed white, convert"),
        (_bytes(Image.new("I", (4, 4), 70000), "TIFF"), "32-bit pixels have no agreed white, convert"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n", "bytes that are none of"),
    ],
)
def test_what_is_no_image_is_refused_by_name(data, got):
    with pytest.raises(InvalidInput, match=rf"^cat/7.jpg: image must be complete and readable, got .*{got}.*; replace"):
        decode(data, "cat/7.jpg")


def _png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_000, 30_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(side):
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # whatever the process does with warnings
        with pytest.raises(InvalidInput, match=rf"^bomb.png: image must not be so large .*{side * side} pixels.*down"):
            decode(_png_header(side, side), "bomb.png")


@pytest.mark.parametrize("is_mpo", [False, True])
def test_a_large_jpeg_is_decoded_at_a_reduced_scale(is_mpo):
    picture = Image.new("RGB", (400, 300), "red")
    picture.paste("blue", (0, 0, 200, 150))
    more = {"format": "MPO", "save_all": True, "append_images": [picture]} if is_mpo else {}
    data = _bytes(picture, **{"kind": "JPEG", "quality": 95, **more})
    limits = {30_000: (200, 150), 29_999: (100, 75), 119_999: (200, 150), 1_900: (50, 38), 120_000: (400, 300)}
    for limit, size in limits.items():
        decoded = decode(data, "photo.jpg", limit)
        assert decoded.size == size
        assert decoded.getpixel((5, 5))[2] > 240
        assert decoded.getpixel((size[0] - 5, 5))[0] > 240
    with pytest.raises(InvalidInput, match=r"^p.jpg: .*400 x 300 pixels, of which 1/64 are more than 1000"):
        decode(data, "p.jpg", 1000)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "progressive JPEG"])
def test_the_limit_of_pixels_can_be_raised_and_lowered(kind):
    data = _bytes(Image.new("RGB", (400, 300)), kind.split()[-1], progressive="progressive" in kind)
    assert decode(data, "photo", 120_000).size == (400, 300)
    for limit in (119_999, 30_000):
        with pytest.raises(InvalidInput, match=r"^photo: .* Scale it down, or raise data.max_pixels"):
            decode(data, "photo", limit)
    before = Image.MAX_IMAGE_PIXELS
    assert decode(data, "photo", 200_000).size == (400, 300)
    assert before == Image.MAX_IMAGE_PIXELS


def test_more_pixels_than_pillow_takes_by_itself(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)  # as if the image were so much larger
    monkeypatch.setattr("trainables.data.decode.DEFAULT_MAX_PIXELS", 10_000)
    for kind in ("PNG", "WEBP", "GIF", "TIFF"):
        assert decode(_bytes(Image.new("RGB", (400, 300)), kind), "photo", 120_000).size == (400, 300), kind


def test_a_large_jpeg_is_turned_upright():
    picture, exif = Image.new("RGB", (400, 300), "red"), Image.Exif()
    exif[0x0112] = 6
    assert decode(_bytes(picture, "JPEG", exif=exif), "photo.jpg", 30_000).size == (150, 200)


@pytest.mark.parametrize("kind", ["JPEG", "MPO"])
@pytest.mark.parametrize("side", [9000, 12000, 60000])
def test_a_jpeg_of_fewer_bytes_than_its_pixels_need_is_refused_before_it_is_decoded(side, kind, monkeypatch):
    more = {"save_all": True, "append_images": [Image.new("RGB", (64, 64))]} if kind == "MPO" else {}
    data = bytearray(_bytes(Image.new("RGB", (64, 64)), kind, **more))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("was decoded"))
    with pytest.raises(InvalidInput, match=rf"^bomb.jpg: image must .*{side} x {side} pixels in {len(data):,} bytes"):
        decode(bytes(data), "bomb.jpg")


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}, {"optimize": True, "quality": 1}])
def test_an_empty_picture_is_not_taken_for_one_that_is_cut_off(options):
    for mode in ("RGB", "L"):
        assert decode(_bytes(Image.new(mode, (5000, 4000)), "JPEG", **options), "white.jpg").size == (5000, 4000)
    assert decode(_bytes(Image.new("1", (5000, 4000)), "PNG", optimize=True), "white.png").size == (5000, 4000)


def test_threads_leave_the_warning_filters_as_they_were():
    data = _bytes(Image.new("RGB", (8, 8)), "PNG")
    before = list(warnings.filters)
    threads = [threading.Thread(target=lambda: [decode(data, "a") for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


def test_real_odd_files(odd_files):
    readable = sorted(path for path in odd_files.rglob("*") if path.is_file() and "DS_Store" not in path.name)
    assert len(readable) == 16
    for path in readable:
        image = decode(path.read_bytes(), path.name)
        assert image.mode == "RGB"
        assert min(image.size) > 50
    grey = np.asarray(decode((odd_files / "animals_grayscale" / "panda_00049.jpg").read_bytes(), "panda"))
    assert (grey[..., 0] == grey[..., 2]).all()
    with pytest.raises(InvalidInput, match="animals_DS_Store: image must be complete and readable"):
        decode((odd_files / "animals_DS_Store").read_bytes(), "animals_DS_Store")


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_the_largest_value_of_sixteen_bits(kind):
    scan = Image.fromarray(np.array([[0, 4080]], dtype=np.uint16))
    assert largest_of_sixteen_bits(_bytes(scan, kind)) == 4080
    assert largest_of_sixteen_bits(_bytes(scan, kind)[:40]) is None
    assert largest_of_sixteen_bits(b"P5 1 1 65535\n\x0f\xf0") == 4080
    assert largest_of_sixteen_bits(b"P5 1 1 255\n\x0f") is None
    assert largest_of_sixteen_bits(_bytes(Image.new("L", (2, 2), 9), kind)) is None
    assert largest_of_sixteen_bits(_bytes(Image.new("RGB", (2, 2)), kind)) is None


@pytest.mark.parametrize(
    ("data", "pixel"),
    [
        (b"P6 1 1 255\n\x0a\x14\x1e", (10, 20, 30)),
        (b"P3 1 1 255\n10 20 30\n", (10, 20, 30)),
        (b"P5 1 1 255\n\x4d", (77, 77, 77)),
        (b"P5 1 1 4095\n\x0f\xff", (255, 255, 255)),
        (b"P4 1 1\n\x00", (255, 255, 255)),
    ],
)
def test_netpbm(data, pixel):
    assert _pixel(data) == pixel
