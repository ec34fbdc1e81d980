import io
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import chromium, opened
from fitted_model import fitted
from PIL import Image
from torch import nn
from trashnet import trashnet_photos

from trainables.bundle.export import ExportBundle, export_bundle
from trainables.bundle.pixels_export import PIXELS_TOLERANCE, export_pixels
from trainables.bundle.predict import Predictor
from trainables.bundle.web_page import write_web_page
from trainables.bundle.web_runtime import web_runtime
from trainables.data.preprocess import Preprocessing

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
    page = write_web_page(bundle, NAME, "small", web_runtime(web_files))
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


@pytest.mark.soak
def test_a_hundred_real_photos_get_the_labels_of_pytorch(web_files: Path, tmp_path: Path) -> None:
    photos = trashnet_photos(100)
    labels = sorted({name.split("/")[2] for name, _ in photos})
    targets = np.array([labels.index(name.split("/")[2]) for name, _ in photos])
    way = Preprocessing(128, "crop", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    inputs = torch.from_numpy(np.stack([way(data, name) for name, data in photos]))
    model = fitted("mobilenetv3_large_100", inputs, targets)
    bundle = export_bundle(model, labels, way, {"architecture": "mobilenetv3_large_100"}, "f", photos, tmp_path)
    export_pixels(model, bundle, photos)
    page = write_web_page(bundle, "trash", "mobilenetv3_large_100", web_runtime(web_files))
    files = [{"name": f"{number}.jpg", "mimeType": "image/jpeg", "buffer": photos[number][1]} for number in range(100)]
    with chromium() as browser, opened(browser, page.as_uri()) as seen:
        seen.page.locator("input[type=file]").set_input_files(files)
        seen.page.get_by_text("100 photos,").wait_for(timeout=300_000)
        found = [article.locator("li span").first.inner_text() for article in seen.page.locator("article").all()][::-1]
    with torch.inference_mode():
        expected = model(inputs).softmax(dim=1).numpy()
    ranked = np.sort(expected, axis=1)
    ties = ranked[:, -1] - ranked[:, -2] < 2 * PIXELS_TOLERANCE
    differing = [row for row in range(100) if found[row] != labels[int(expected[row].argmax())]]
    assert len(set(found)) >= 3
    assert [row for row in differing if not ties[row]] == []
    assert len(differing) <= 3
