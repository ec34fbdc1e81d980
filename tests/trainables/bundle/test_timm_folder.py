import io
import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from search_spaces.errors import ExportRefused
from trainables.bundle import export, timm_folder
from trainables.bundle.export import ExportBundle, export_bundle
from trainables.bundle.timm_folder import write_timm_folder
from trainables.data.preprocess import Preprocessing
from trainables.data_config import ResizeMode

Small = tuple[nn.Module, ExportBundle]
Photos = list[tuple[str, bytes]]


def read(folder: Path) -> Any:
    return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()


def test_timm_builds_the_trained_model_with_its_labels(small: Small, photos: Photos) -> None:
    model, bundle = small
    found = read(bundle.model.parent / "timm")
    pixels = torch.from_numpy(np.stack([bundle.preprocessing(data, name) for name, data in photos]))
    with torch.inference_mode():
        assert torch.equal(found(pixels), model.eval()(pixels))
    config = json.loads((bundle.model.parent / "timm" / "config.json").read_text())
    assert config["label_names"] == list(bundle.labels)
    assert str(Path.cwd()) not in str(config)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (bundle.model.parent / "timm").iterdir()}
    assert modes["model.safetensors"] == modes["config.json"]


@pytest.mark.parametrize("mode", get_args(ResizeMode))
def test_timm_prepares_a_photo_as_the_model_was_trained(mode: ResizeMode, small: Small, photos: Photos, tmp_path: Path):
    ours = Preprocessing(64, mode, (0.4, 0.5, 0.6), (0.2, 0.3, 0.25))
    write_timm_folder(small[0], small[1].labels, ours, torch.zeros(1, 3, 64, 64), tmp_path / "timm")
    settings = timm.data.resolve_model_data_config(read(tmp_path / "timm"))
    assert settings["input_size"] == (3, 64, 64)
    assert (tuple(settings["mean"]), tuple(settings["std"])) == (ours.mean, ours.std)
    prepare: Any = timm.data.create_transform(**settings, is_training=False)
    for name, data in photos[:3]:
        with Image.open(io.BytesIO(data)) as photo:
            difference = np.abs(prepare(photo).numpy() - ours(data, name))
        # timm resizes all of a photo and cuts then; its border is black, ours is of the mean color.
        if mode == "squash":
            assert difference.max() < 1e-6
        else:
            assert difference[:, 16:-16].mean() < 0.02


def test_a_folder_that_computes_something_else_is_refused_and_leaves_the_export_as_it_was(
    small: Small, photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, bundle = small
    monkeypatch.setattr(export, "export_onnx", lambda _model, _size, path: path.write_bytes(onnx_file) and 20)
    onnx_file = bundle.model.read_bytes()

    def write() -> ExportBundle:
        return export_bundle(model, bundle.labels, bundle.preprocessing, {}, "f", photos, tmp_path)

    write()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    save = timm_folder.save_for_hf

    def permuted(model: nn.Module, folder: str, **options: Any) -> None:
        save(model, folder, **options)
        weights = load_file(f"{folder}/model.safetensors")
        weights["classifier.weight"] = weights["classifier.weight"].flip(0).contiguous()
        save_file(weights, f"{folder}/model.safetensors")

    monkeypatch.setattr(timm_folder, "save_for_hf", permuted)
    with pytest.raises(ExportRefused, match=r"timm .* must build the trained model from its folder"):
        write()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
