"""Page that classifies photos in a browser with an exported model: one file, which works offline and sends no data."""

import base64
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from string import Template

from torch import nn

from search_spaces.errors import InvalidInput
from trainables.bundle.export import ExportBundle
from trainables.bundle.variant import PIXELS_FILE, Variant
from trainables.bundle.web_runtime import SCRIPT, WASM

# Chrome has no text of more than 2**29 characters, and four of them hold three bytes.
_LARGEST = 390_000_000
_TEMPLATE = Path(__file__).with_name("web_page.html")


def check_page_size(model: nn.Module) -> None:
    """Raise InvalidInput for a model that is too large for a page."""
    size = 4 * sum(weight.numel() for weight in model.parameters())
    if size > _LARGEST:
        raise InvalidInput(
            f"--variant web: a model must have at most {_LARGEST / 1e6:.0f} MB for a page, got {size / 1e6:.0f} MB; "
            "leave it out, or take a smaller architecture"
        )


def write_web_page(bundle: ExportBundle, name: str, architecture: str, runtime: Mapping[str, bytes]) -> Path:
    """Write the page beside `model.onnx`, of `model.pixels.onnx`, which must be there, and return its path.

    A photo goes through the same graph as in onnxruntime: the page decodes it and nothing more. `name` is the heading,
    `runtime` what `web_runtime` gives.
    """
    pixels = bundle.model.with_name(PIXELS_FILE)
    about = {"name": name, "architecture": architecture, "labels": bundle.labels}
    page = Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        # `<` would end the block in which it stands.
        about=json.dumps(about).replace("<", "\\u003c"),
        script=base64.b64encode(runtime[SCRIPT]).decode("ascii"),
        wasm=base64.b64encode(runtime[WASM]).decode("ascii"),
        model=base64.b64encode(pixels.read_bytes()).decode("ascii"),
    )
    out = bundle.model.with_name(Variant.WEB.file)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=out.parent) as scratch:
        draft = Path(scratch) / out.name
        draft.write_text(page, encoding="utf-8")
        draft.replace(out)
    return out
