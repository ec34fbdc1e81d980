"""Features of any photos from the frozen part of a model, computed once per node."""

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import numpy.typing as npt
import timm
import torch
from timm.data.config import resolve_data_config

from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig
from trainables.data.arrays import Split
from trainables.data.lazy_images import LazyImages, Pixels
from trainables.data.node_cache import NodeCache
from trainables.data_config import DataConfig
from trainables.loop.batches import Batches, TrialBatches
from trainables.loop.feature_training import head_features
from trainables.model.build import build_model
from trainables.model.freeze import set_trainable
from trainables.model.stages import classifier_parameters
from trainables.storage.bucket import BucketPath
from trainables.storage.place import Place

# Their features tell near-duplicates apart best of those measured, in `docs/data.md`.
_PREFERRED = ("mobilenetv2_100", "tf_efficientnet_lite0")


def probe_architecture(weights_dir: Place) -> str:
    """Return the architecture whose features are used: a preferred one, else that of the smallest weights in a folder.

    Raises InvalidInput where it has none that timm knows.
    """
    files: list[Place] = [*weights_dir.glob("*.safetensors")]
    files.sort(key=lambda file: (_size(file), file.name))
    known = [file.stem for file in files if timm.is_model(file.stem)]
    if not known:
        raise InvalidInput(
            f"{weights_dir}: must hold <architecture>.safetensors of a timm model, got "
            f"{', '.join(file.name for file in files) or 'none'}; name another folder"
        )
    return next((name for name in _PREFERRED if name in known), known[0])


def _size(file: Place) -> int:
    return file.found().size if isinstance(file, BucketPath) else file.stat().st_size


def photo_features(
    data: DataConfig, count: int, decode: Callable[[int], Pixels], identity: str, cache: NodeCache
) -> npt.NDArray[np.float32]:
    """Compute the features (count, width) that the classifier of a pretrained model gets, of images (size, size, 3).

    The model is that of `probe_architecture`. `decode` gives the image of an index, of side
    `data.image_size`; `identity` stands for all of them. Raises InvalidInput for weights that cannot be used.
    """
    if data.weights_dir is None:
        raise InvalidInput("data.weights_dir must be set for features of photos, got none; set it")
    settings = {"architecture": probe_architecture(data.weights_dir), "strategy": "head", "epochs": 1, "lr": 1.0}
    config = TrialConfig.model_validate({"data": data.model_dump(), **settings, "channels_last": True})
    model = build_model(config, 2)
    set_trainable(model, classifier_parameters(model))
    wanted = resolve_data_config({}, model=model)  # type: ignore[no-untyped-call]
    images = LazyImages(decode, (count, data.image_size, data.image_size, 3), torch.get_num_threads())
    device = torch.device("cpu")
    batches = Batches(config, Split(images), tuple(wanted["mean"]), tuple(wanted["std"]), device)
    model = model.to(memory_format=torch.channels_last)
    _, rows = head_features(config, model, TrialBatches(batches, batches, identity), cache, nullcontext)
    return np.asarray(rows, dtype=np.float32)
