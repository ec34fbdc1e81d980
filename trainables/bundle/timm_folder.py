"""timm folder: the model as timm itself stores it, `timm.create_model("local-dir:export/timm", pretrained=True)`.

For people who go on in PyTorch: weights as safetensors, and names of the classes, size, mean and std in `config.json`.
It is read back by timm before an export is complete.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import save_for_hf
from torch import Tensor, nn

from search_spaces.errors import ExportRefused
from trainables.bundle.parity import reference
from trainables.data.preprocess import Preprocessing
from trainables.storage.folders import usual_mode

# timm's names of the ways to make a square.
_CROP_MODES = {"crop": "center", "squash": "squash", "pad": "border"}


def write_timm_folder(
    model: nn.Module, labels: Sequence[str], preprocessing: Preprocessing, images: Tensor, folder: Path
) -> None:
    """Write the weights and the configuration of a model that timm has built into a new folder.

    `images` (n, 3, s, s) are inputs on which the two are compared. Raises ExportRefused unless timm builds a model from
    the folder whose logits are those of `model`, bit by bit.
    """
    trained: Any = reference(model)
    size = preprocessing.image_size
    data = {
        "input_size": (3, size, size),
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "crop_mode": _CROP_MODES[preprocessing.resize_mode],
    }
    folder.mkdir()
    names = {"label_names": list(labels)}
    with usual_mode(folder / "model.safetensors"):  # which safetensors would close to the group
        save_for_hf(trained, str(folder), model_config=names, safe_serialization=True, data_config=data)
    read = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    with torch.inference_mode():
        expected, found = trained(images), read(images)
    if not torch.equal(expected, found):
        difference = (expected - found).abs().max().item()
        raise ExportRefused(
            f"{folder.name}: timm {timm.__version__} must build the trained model from its folder, got logits that "
            f"differ by up to {difference:.3g}; nothing was written, try another version of timm"
        )
