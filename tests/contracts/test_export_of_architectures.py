"""Export of nine architectures, on real photos, with heads fitted on their own features.

A model of random weights gives nearly all photos one label, and proves nothing: so BatchNorm has the statistics of the
photos, and the head is a logistic regression.
"""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from fitted_model import fitted
from trashnet import trashnet_photos

from trainables.bundle.export import export_bundle
from trainables.bundle.predict import Predictor
from trainables.data.preprocess import Preprocessing

Photos = list[tuple[str, bytes]]

SIZES = {
    "mobilenetv3_large_100": 96,
    "resnet18": 96,
    "convnext_atto": 96,
    "efficientnet_b0": 96,
    "tf_efficientnet_lite0": 96,
    "mobilenetv2_100": 96,
    "resnet50": 96,
    "vgg16_bn": 96,
    "vit_tiny_patch16_224": 224,
}
USUAL = [*SIZES][:3]


def check(architecture: str, photos: Photos, folder: Path) -> None:
    """Export a model, and compare it in onnxruntime, at three batch sizes, and in timm with itself."""
    labels = sorted({name.split("/")[2] for name, _ in photos})
    targets = np.array([labels.index(name.split("/")[2]) for name, _ in photos])
    way = Preprocessing(SIZES[architecture], "squash", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    inputs = torch.from_numpy(np.stack([way(data, name) for name, data in photos]))
    model = fitted(architecture, inputs, targets)
    with torch.inference_mode():
        expected = model(inputs).numpy()
    assert len(set(expected.argmax(axis=1))) >= len(labels) / 2
    bundle = export_bundle(model, labels, way, {"architecture": architecture}, "f", photos, folder)
    assert bundle.parity.holds
    predictor, scale = Predictor.open(bundle.model), float(np.abs(expected).max())
    for batch in (1, 2, 7):
        pieces = [predictor.logits(piece.numpy()) for piece in inputs[:14].split(batch)]
        assert np.abs(np.concatenate(pieces) - expected[:14]).max() <= 1e-4 * scale, batch
    with torch.inference_mode():
        again = timm.create_model(f"local-dir:{folder / 'timm'}", pretrained=True).eval()(inputs).numpy()
    assert np.abs(again - expected).max() <= 1e-4 * scale
    answers = predictor.predict_bytes(photos)
    assert [answer.label for answer in answers] == [labels[index] for index in expected.argmax(axis=1)]


@pytest.mark.parametrize("architecture", USUAL)
def test_the_file_computes_what_the_model_does(architecture: str, tmp_path: Path) -> None:
    check(architecture, trashnet_photos(40), tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("architecture", SIZES)
def test_all_architectures_compute_what_their_models_do(architecture: str, tmp_path: Path) -> None:
    check(architecture, trashnet_photos(40), tmp_path)
