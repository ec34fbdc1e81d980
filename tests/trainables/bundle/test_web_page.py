import io
from pathlib import Path

import pytest
from browser import chromium, opened
from PIL import Image
from torch import nn

from trainables.bundle.export import ExportBundle, export_bundle
from trainables.bundle.pixels_export import export_pixels
from trainables.bundle.predict import Predictor
from trainables.bundle.web_page import write_web_page
from trainables.bundle.web_runtime import web_runtime

Small = tuple[nn.Module, ExportBundle]
Photos = list[tuple[str, bytes]]
NAME = "a <b>sweep</b> </script><script>document.title=1</script>"


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def odd(photos: Photos) -> Photos:
    """Photos that a browser could show otherwise: turned by its metadata, transparent, gray, one pixel wide."""
    image = Image.open(io.BytesIO(photos[0][1])).convert("RGB").resize((90, 60))
    exif = Image.Exif()
    exif[0x0112] = 6
    clear = image.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size).point(lambda value: 255 * (value > 128)))
    return [
        ("turned.jpg", encoded(image, "JPEG", quality=95, exif=exif)),
        ("clear.png", encoded(clear, "PNG")),
        ("gray.png", encoded(image.convert("L"), "PNG")),
        ("<img src=x>.png", encoded(image.resize((1, 60)), "PNG")),
    ]


def test_the_page_answers_as_the_model_does_and_asks_nothing_of_a_network(
    small: Small, photos: Photos, odd: Photos, web_files: Path, tmp_path: Path
) -> None:
    made = small[1]
    bundle = export_bundle(
        small[0], ["<i>", *made.labels[1:]], made.preprocessing, {"architecture": "small"}, "f", photos, tmp_path
    )
    export_pixels(small[0], bundle, photos)
    page = write_web_page(bundle, NAME, web_runtime(web_files))
    assert [*tmp_path.glob(".export*")] == []
    given = [*photos, *odd]
    files = [{"name": name, "mimeType": "image/x", "buffer": data} for name, data in given]
    with chromium() as browser, opened(browser, page.as_uri()) as seen:
        seen.page.get_by_text("Ready.").wait_for()
        assert seen.page.locator("h1").inner_text() == NAME == seen.page.title()
        seen.page.locator("input[type=file]").set_input_files([*files, {**files[0], "buffer": b"no photo"}])
        seen.page.get_by_text(f"{len(given) + 1} photos,").wait_for()
        articles = [*reversed(seen.page.locator("article").all())]  # the newest is first
        expected = Predictor.open(bundle.model).predict_bytes(given)
        for article, answer in zip(articles[:-1], expected, strict=True):
            assert article.locator("h2").inner_text() == answer.path
            best = article.locator("li").first
            assert best.locator("span").first.inner_text() == answer.label, answer.path
            assert float(best.get_attribute("data-probability") or "nan") == pytest.approx(answer.probability, abs=0.02)
        assert "This browser cannot classify it" in articles[-1].inner_text()
        assert {address.partition(":")[0] for address in seen.asked} == {"file", "blob"}
        assert seen.said == []
