from pathlib import Path

import pytest
import torch

from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig
from trainables.estimate.order_check import check_order
from trainables.loop.checkpoint import load_trained
from trainables.loop.train import train
from trainables.model.build import bare_model
from trainables.storage.folders import TrialFolders


def test_weights_that_were_trained_pass_and_random_ones_are_refused(
    digits: Path, tmp_path: Path, cache_dir: Path
) -> None:
    settings = {
        "data": {"root": digits, "image_size": 32, "resize_mode": "squash"},
        "architecture": "test_efficientnet",
        "strategy": "full",
        "lr": 3e-3,
        "epochs": 4,
    }
    folders = TrialFolders(tmp_path / "checkpoints", tmp_path / "predictions.parquet", cache_dir)
    list(train(TrialConfig.model_validate({**settings, "weights": "none"}), folders))
    trained, _ = load_trained(folders.last)

    def check(model: torch.nn.Module, metric: str = "val/macro_f1", **changes: str) -> None:
        path = tmp_path / "w.pth"
        torch.save({f"{number}": tensor for number, tensor in enumerate(model.state_dict().values())}, path)
        chosen = {"weights": str(path), "weights_layout": "by_order", "objective": {"metric": metric}, **changes}
        check_order(TrialConfig.model_validate({**settings, **chosen}), cache_dir)

    check(trained)
    check(trained, "val/loss")
    random = bare_model("test_efficientnet", 10, seed=7)
    with pytest.raises(InvalidInput, match=r"beat random ones .* val/macro_f1 0\.\d{4} of .*w.pth and 0\.\d{4} of ran"):
        check(random)
    check(random, weights_layout="by_name", weights="none")
    check(random, weights="none")
