import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig
from trainables.model.build import bare_model, build_model, check_architecture

Config = Callable[..., TrialConfig]
HEAD = {"classifier.weight", "classifier.bias"}


def save(path: Path, architecture: str, classes: int, **changes: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """The file of such a model, with tensors changed or (None) left out; returns what it holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {**bare_model(architecture, classes, seed=99).state_dict(), **changes}
    kept = {name.replace("__", "."): tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(kept, path)
    return kept


def differing(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> set[str]:
    return {name for name in one if not torch.equal(one[name], other[name])}


def test_an_unknown_architecture_is_told_the_closest() -> None:
    with pytest.raises(InvalidInput) as caught:
        check_architecture("resnt18")
    assert str(caught.value).startswith("architecture must be a timm model name, got 'resnt18'; did you mean resnet18")
    with pytest.raises(InvalidInput, match=r"got 'mobilnet_v3_large'; did you mean .*mobilenetv3_large"):
        bare_model("mobilnet_v3_large", 3)


@pytest.mark.parametrize("tag", ["in22k", "", "a1_in1k ", "A1_IN1K", "a1_in1k.more"])
def test_an_unknown_tag_is_answered_with_those_that_exist(tag: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_architecture(f"resnet18.{tag}")
    assert f"there is no tag {tag!r}; there are resnet18." in str(caught.value)
    assert "resnet18.a1_in1k" in str(caught.value)
    assert str(caught.value).endswith("or set it to resnet18 alone")
    check_architecture("resnet18.a1_in1k")
    check_architecture("resnet18")


def test_random_weights_are_a_function_of_the_seed(trial_config: Config) -> None:
    one, same, other = (build_model(trial_config(seed=seed), 3).state_dict() for seed in (1, 1, 2))
    assert differing(one, same) == set()
    assert differing(one, other) >= {"classifier.weight", "conv_stem.weight"}


def test_building_draws_from_no_global_stream(trial_config: Config) -> None:
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    one = build_model(trial_config(), 3).state_dict()
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # type: ignore[index]
    torch.rand(7)
    assert differing(one, build_model(trial_config(), 3).state_dict()) == set()


def test_dropout_reaches_the_model(trial_config: Config) -> None:
    assert build_model(trial_config(dropout=0.3), 3).drop_rate == 0.3
    assert build_model(trial_config(), 3).drop_rate == 0


def test_an_architecture_of_one_size_says_which(trial_config: Config) -> None:
    config = trial_config(architecture="vit_tiny_patch16_224", data={"image_size": 96})
    with pytest.raises(InvalidInput) as caught:
        build_model(config, 3)
    assert str(caught.value) == (
        "data.image_size must be 224 for vit_tiny_patch16_224, which takes no other, got 96; "
        "set it so, or choose another architecture"
    )
    assert build_model(trial_config(architecture="test_vit", data={"image_size": 160}), 3).num_classes == 3


def test_a_model_that_is_no_classifier() -> None:
    with pytest.raises(
        InvalidInput, match="architecture must be an image classifier with dropout, got gemma4_vit_167m"
    ):
        bare_model("gemma4_vit_167m_enc", 3)


@pytest.mark.parametrize("offline", [True, False])
def test_a_hub_out_of_reach_is_told_soon(offline: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    # Nothing listens there. Without a bound, the hub's client tries for 46 seconds.
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    started = time.perf_counter()
    with pytest.raises(InvalidInput) as caught:
        bare_model("resnet10t", 3, from_hub=True)
    assert time.perf_counter() - started < 15
    assert str(caught.value).startswith("weights: pretrained must be downloadable for resnet10t, got ")
    assert str(caught.value).endswith(
        "; connect to the internet, set data.weights_dir to a folder with resnet10t.safetensors, or set weights: none"
    )
    assert constants.HF_HUB_OFFLINE is offline


class NotFound(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()

    do_GET = do_HEAD  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def test_a_hub_that_has_no_such_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), NotFound) as server:
        endpoint = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace("https://huggingface.co", endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        # It answers, so it is asked; what it answers stands in the message.
        with pytest.raises(
            InvalidInput, match=r"weights: pretrained must be downloadable for resnet10t, got RepositoryNotFoundError"
        ):
            bare_model("resnet10t", 3, from_hub=True)
        server.shutdown()


def test_what_is_cached_of_the_hub_needs_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    repository = tmp_path / "models--timm--resnet10t.c3_in1k"
    there = save(repository / "snapshots" / ("0" * 40) / "model.safetensors", "resnet10t", 1000)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    model = bare_model("resnet10t", 3, from_hub=True)
    assert torch.equal(model.state_dict()["layer1.0.conv1.weight"], there["layer1.0.conv1.weight"])


def test_the_hub_switched_off_by_its_own_variable(tmp_path: Path) -> None:
    code = """
from trainables.model.build import bare_model
try:
    bare_model("resnet10t", 3, from_hub=True)
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("InvalidInput weights: pretrained must be downloadable for resnet10t, got ")
    assert "or set weights: none" in done.stdout


def test_real_weights_fit_with_a_new_head(trial_config: Config) -> None:
    default = Path(__file__).resolve().parents[3].parent / "shared"
    folder = Path(os.environ.get("THAW_TEST_ASSETS", default)) / "weights"
    if not folder.is_dir():
        pytest.skip(f"no {folder}; set THAW_TEST_ASSETS to the folder that holds weights/")
    for architecture in ("mobilenetv2_100", "tf_mobilenetv3_small_100"):
        config = trial_config(architecture=architecture, weights="pretrained", data={"weights_dir": folder})
        model = build_model(config, 6)
        there = load_file(folder / f"{architecture}.safetensors")
        own = model.state_dict()
        assert {name for name in own if not torch.equal(own[name], there[name])} == HEAD


def test_drop_path_reaches_the_residual_blocks_and_is_refused_where_there_are_none() -> None:
    model = bare_model("resnet10t", 3, drop_path=0.3)
    rates = [module.drop_prob for module in model.modules() if type(module).__name__ == "DropPath"]
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(0.3)
    with pytest.raises(InvalidInput, match=r"with dropout and drop_path, got vgg11 .*or set drop_path: 0"):
        bare_model("vgg11", 3, drop_path=0.3)
