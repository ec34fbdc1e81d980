from pathlib import Path

import pytest
from huggingface_hub import constants
from small_weights import ARCHITECTURE, write_weights

from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig
from trainables.estimate.weights_at_hand import are_at_hand, find_weights, without_hub


def trial(**settings: object) -> TrialConfig:
    head = {"data": {"root": "photos"}, "architecture": ARCHITECTURE, "strategy": "head", "epochs": 1, "lr": 1}
    return TrialConfig.model_validate({**head, **settings})


def test_a_folder_has_the_models_that_timm_knows(tmp_path: Path) -> None:
    folder = write_weights(tmp_path / "weights")
    for name in ("mine", "vit_tiny_patch16_224"):
        (folder / f"{name}.safetensors").touch()
    found = find_weights(96, folder)
    assert (found.architectures, found.other_size) == ((ARCHITECTURE,), ("vit_tiny_patch16_224",))
    assert find_weights(224, folder, ["vit_tiny_patch16_224", "resnet18"]).architectures == ("vit_tiny_patch16_224",)
    at_hand = {"data": {"root": "photos", "weights_dir": folder}}
    assert are_at_hand(trial(**at_hand))
    assert not are_at_hand(trial(**at_hand, architecture="resnet18"))


@pytest.mark.parametrize(
    ("names", "message"),
    [([], "got no such file"), (["mine"], "got mine, which are no timm models"), (None, "must be a folder of")],
)
def test_a_folder_without_weights_is_refused(names: list[str] | None, message: str, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    if names is not None:
        folder.mkdir()
        for name in names:
            (folder / f"{name}.safetensors").touch()
    with pytest.raises(InvalidInput, match=message):
        find_weights(96, folder)


def test_timm_s_cache_is_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path), raising=False)
    assert find_weights(96, None, ["resnet18"]).architectures == ()
    assert not are_at_hand(trial(architecture="resnet18"))
    assert are_at_hand(trial(weights="none"))
    cached = tmp_path / "models--timm--resnet18.a1_in1k"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0" * 40)
    (cached / "snapshots" / ("0" * 40)).mkdir(parents=True)
    (cached / "snapshots" / ("0" * 40) / "model.safetensors").touch()
    assert find_weights(96, None, ["resnet50", "resnet18"]).architectures == ("resnet18",)


def test_nothing_is_downloaded_within() -> None:
    before = constants.HF_HUB_OFFLINE
    with without_hub():
        assert constants.HF_HUB_OFFLINE
    assert before == constants.HF_HUB_OFFLINE
