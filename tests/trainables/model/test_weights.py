import argparse
import datetime
import enum
import functools
import logging
import os
import pathlib
import pickle
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from search_spaces.errors import InvalidInput
from trainables.checkpoint_state import CheckpointState
from trainables.config import TrialConfig
from trainables.estimate.photo_features import probe_architecture
from trainables.estimate.weights_at_hand import find_weights
from trainables.loop import checkpoint
from trainables.loop.source_files import source_digests
from trainables.model.build import bare_model, build_model
from trainables.model.stages import classifier_parameters
from trainables.model.weights import CHECKPOINT_FILE, load_weights, read_weights, weights_files, weights_path
from trainables.storage.bucket import BucketPath
from trainables.storage.place import as_place

Config = Callable[..., TrialConfig]
Tensors = dict[str, torch.Tensor]
ARCHITECTURE = "test_efficientnet"
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


def test_where_the_weights_come_from(trial_config: Config, tmp_path: Path) -> None:
    assert weights_path(trial_config(weights="none", data={"weights_dir": tmp_path})) is None
    assert weights_path(trial_config(weights="pretrained")) is None
    named = weights_path(trial_config(weights="pretrained", data={"weights_dir": tmp_path}))
    assert named == tmp_path / "test_efficientnet.safetensors"
    assert weights_path(trial_config(weights="a/b.safetensors")) == Path("a/b.safetensors")


def test_weights_of_as_many_classes_are_taken_whole(
    trial_config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    there = save(tmp_path / "test_efficientnet.safetensors", "test_efficientnet", 3)
    for config in (
        trial_config(weights="pretrained", data={"weights_dir": tmp_path}),
        trial_config(weights=str(tmp_path / "test_efficientnet.safetensors")),
    ):
        assert differing(build_model(config, 3).state_dict(), there) == set()
    assert "the head is replaced" not in caplog.text


def test_a_head_of_another_size_is_replaced_with_a_message(
    trial_config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "w.safetensors"
    there = save(path, "test_efficientnet", 1000)
    one, same, other = (build_model(trial_config(weights=str(path), seed=s), 3).state_dict() for s in (1, 1, 2))
    assert caplog.messages[0] == "w.safetensors: the head is replaced by a new one of 3 classes"
    assert one["classifier.weight"].shape[0] == 3
    assert {name for name in there if not torch.equal(one[name], there[name])} == HEAD
    assert differing(one, same) == set()
    assert differing(one, other) == HEAD


@pytest.mark.parametrize("lacking", [HEAD, {"classifier.bias"}])
def test_a_head_that_is_not_whole_is_replaced_whole(
    lacking: set[str], trial_config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "w.safetensors"
    save(path, "test_efficientnet", 3, **dict.fromkeys(lacking))
    model = build_model(trial_config(weights=str(path)), 3)
    assert "the head is replaced by a new one of 3 classes" in caplog.text
    fresh = build_model(trial_config(), 3).state_dict()
    assert torch.equal(model.state_dict()["classifier.weight"], fresh["classifier.weight"])


def test_both_heads_of_a_distilled_model_are_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "w.safetensors"
    there = save(path, "levit_128s", 5)
    model = bare_model("levit_128s", 3)
    load_weights(model, "levit_128s", path)
    # The first parameter of this head is a norm over features, not over classes.
    assert caplog.messages == ["w.safetensors: the head is replaced by a new one of 3 classes"]
    rest = there.keys() - classifier_parameters(model)
    assert all(torch.equal(model.state_dict()[name], there[name]) for name in rest)


def test_weights_of_another_architecture(trial_config: Config, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save(path, "resnet10t", 3)
    with pytest.raises(InvalidInput) as caught:
        build_model(trial_config(weights=str(path)), 3)
    assert re.fullmatch(
        rf"weights must fit the architecture test_efficientnet, got {re.escape(str(path))}: "
        r"\d+ keys missing \(blocks\.0\.0\.bn1\.bias, blocks\.0\.0\.bn1\.running_mean, \.\.\.\); "
        r"\d+ keys unexpected \(conv1\.\S+, conv1\.\S+, \.\.\.\); \d+ keys of another shape \(.*\); "
        r"give the file of this architecture, or set architecture to the one it was made for",
        str(caught.value),
    )


def test_counters_that_a_converted_file_lacks_are_not_missed(trial_config: Config, tmp_path: Path) -> None:
    """torch itself loads such a file strictly; those of Keras, ONNX and torch before 1.0 are among them."""
    path = tmp_path / "w.safetensors"
    save(path, "test_efficientnet", 3)
    tensors = {name: value for name, value in load_file(path).items() if not name.endswith("num_batches_tracked")}
    save_file(tensors, path)
    model = build_model(trial_config(weights=str(path)), 3)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in tensors.items())


def test_weights_of_another_width_and_with_a_key_too_many(trial_config: Config, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    stem = torch.zeros(4, 3, 3, 3)
    save(path, "test_efficientnet", 3, **{"conv_stem.weight": stem, "extra": torch.zeros(1), "bn1.bias": None})
    with pytest.raises(InvalidInput) as caught:
        build_model(trial_config(weights=str(path)), 3)
    assert (
        "1 keys missing (bn1.bias); 1 keys unexpected (extra); 1 keys of another shape (conv_stem.weight); give"
    ) in str(caught.value)


def test_a_missing_file_lists_what_is_there(trial_config: Config, tmp_path: Path) -> None:
    config = trial_config(weights="pretrained", data={"weights_dir": tmp_path})
    with pytest.raises(InvalidInput) as caught:
        build_model(config, 3)
    assert str(caught.value) == (
        f"weights file must exist, got none at {tmp_path}/test_efficientnet.safetensors; "
        "the folder holds no weights: put it there, or choose other weights"
    )
    save(tmp_path / "b.safetensors", "test_efficientnet", 3)
    save(tmp_path / "a.safetensors", "test_efficientnet", 3)
    with pytest.raises(InvalidInput, match=r"; the folder holds a\.safetensors, b\.safetensors: put it there"):
        build_model(config, 3)
    with pytest.raises(InvalidInput, match="the folder holds no weights"):
        read_weights(tmp_path / "nowhere" / "c.safetensors")


def test_weights_of_a_bucket_are_those_of_a_folder(
    bucket: str, trial_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THAW_CACHE_DIR", str(tmp_path / "cache"))
    save(tmp_path / "test_efficientnet.safetensors", "test_efficientnet", 3)
    place = as_place(f"{bucket}/weights")
    assert isinstance(place, BucketPath)
    here, there = (trial_config(weights="pretrained", data={"weights_dir": each}) for each in (tmp_path, str(place)))
    (place / "other.safetensors").write_bytes(b"no weights")
    (place / "read.me").write_bytes(b"")
    missing = f"got none at {place}/test_efficientnet.safetensors; the folder holds other.safetensors: put it there"
    with pytest.raises(InvalidInput, match=re.escape(missing)):
        build_model(there, 3)
    with pytest.raises(InvalidInput, match=rf"weights must be a .safetensors file, got {place}/other.safetensors"):
        read_weights(place / "other.safetensors")
    file = place / "test_efficientnet.safetensors"
    file.write_bytes((tmp_path / "test_efficientnet.safetensors").read_bytes())
    assert not differing(build_model(here, 3).state_dict(), build_model(there, 3).state_dict())
    assert [*weights_files(there)] == [file]
    assert source_digests([there]) == {str(file): next(iter(source_digests([here]).values()))}
    assert probe_architecture(place) == "test_efficientnet"
    assert find_weights(64, place).architectures == ("test_efficientnet",)


@pytest.mark.parametrize("content", [b"PK\x03\x04 a pickle in a zip file", b"\xff" * 64])
def test_a_file_of_another_format(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"weights must be a .safetensors file, got .*w.safetensors \(.*; convert"):
        read_weights(tmp_path / "w.safetensors")


# ---- one's own checkpoints ------------------------------------------------------------------------------------------


def trained(classes: int = 3) -> Tensors:
    return bare_model(ARCHITECTURE, classes, seed=99).state_dict()


def loaded(path: Path, classes: int = 3) -> Tensors:
    model = bare_model(ARCHITECTURE, classes, seed=1)
    load_weights(model, ARCHITECTURE, path)
    return model.state_dict()


def prefixed(tensors: Tensors, prefix: str) -> Tensors:
    return {prefix + name: tensor for name, tensor in tensors.items()}


OPTIMIZER = {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}


@pytest.mark.parametrize("ending", [".pth", ".pt", ".ckpt", ".bin", ".pth.tar"])
@pytest.mark.parametrize("key", [None, "state_dict", "model", "model_state_dict"])
def test_what_torch_save_wrote(key: str | None, ending: str, tmp_path: Path) -> None:
    there = trained()
    rest = {"epoch": 7, "optimizer_state_dict": OPTIMIZER, "best_acc": np.float64(0.9), "classes": ["a", "b", "c"]}
    torch.save(there if key is None else {**rest, key: there}, tmp_path / f"w{ending}")
    assert differing(loaded(tmp_path / f"w{ending}"), there) == set()


def test_the_old_format_of_torch_save(tmp_path: Path) -> None:
    there = trained()
    torch.save({"model": there}, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert differing(loaded(tmp_path / "w.pth"), there) == set()


def test_a_checkpoint_of_lightning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    there = trained(5)
    values = {"criterion.weight": torch.ones(5), "val_acc.tp": torch.zeros(1)}
    lightning = {
        "epoch": 3,
        "global_step": 120,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": {**values, **prefixed(there, "model.")},
        "optimizer_states": [OPTIMIZER],
        "lr_schedulers": [],
        "callbacks": {"ModelCheckpoint{'monitor': 'val_loss'}": {"best_model_score": torch.tensor(0.5)}},
        "hyper_parameters": {"lr": 1e-3, "name": "resnet"},
    }
    torch.save(lightning, tmp_path / "last.ckpt")
    mine = loaded(tmp_path / "last.ckpt")
    assert {name for name in mine if not torch.equal(mine[name], there[name])} == HEAD
    assert caplog.messages[-2:] == [
        "last.ckpt: the prefix model. of its keys is stripped; 2 keys outside it are left out "
        "(criterion.weight, val_acc.tp)",
        "last.ckpt: the head is replaced by a new one of 3 classes",
    ]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    parts=st.lists(
        st.sampled_from(["model", "module", "net", "backbone", "_orig_mod", "0", "encoder", "blocks"]), max_size=4
    )
)
def test_any_prefix_that_all_keys_share_is_stripped(parts: list[str], tmp_path: Path) -> None:
    there = trained()
    torch.save({"state_dict": prefixed(there, "".join(f"{part}." for part in parts))}, tmp_path / "w.pth")
    assert differing(loaded(tmp_path / "w.pth"), there) == set()


def test_a_compiled_ddp_model_with_a_foreign_head_beside_it(tmp_path: Path) -> None:
    there = trained()
    backbone = {name: tensor for name, tensor in there.items() if name not in HEAD}
    file = {**prefixed(backbone, "module._orig_mod.backbone."), "module._orig_mod.head.weight": torch.ones(7, 2)}
    torch.save(file, tmp_path / "w.pth")
    mine = loaded(tmp_path / "w.pth")
    assert {name for name in mine if not torch.equal(mine[name], there[name])} == HEAD


def test_a_head_of_several_layers_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    there = trained()
    backbone = {name: tensor for name, tensor in there.items() if name not in HEAD}
    torch.save({**backbone, "classifier.1.weight": torch.ones(3, 256)}, tmp_path / "w.pth")
    mine = loaded(tmp_path / "w.pth")
    assert {name for name in mine if not torch.equal(mine[name], there[name])} == HEAD
    assert caplog.messages == ["w.pth: the head is replaced by a new one of 3 classes"]


def test_a_checkpoint_folder_of_thaw(trial_config: Config, tmp_path: Path) -> None:
    model = bare_model(ARCHITECTURE, 3, seed=5)
    normal = (0.5, 0.5, 0.5)
    state = CheckpointState(
        config=trial_config(), classes=("0", "1", "2"), fingerprint="f", mean=normal, std=normal, reports=()
    )
    checkpoint.save_checkpoint(tmp_path / "0007" / "best", model.state_dict(), state)
    assert checkpoint.WEIGHTS == CHECKPOINT_FILE
    built = build_model(trial_config(weights=str(tmp_path / "0007" / "best")), 3)
    assert differing(built.state_dict(), model.state_dict()) == set()
    with pytest.raises(InvalidInput, match=r"or a checkpoint folder of Thaw .*, got the folder .*; it holds best/"):
        read_weights(tmp_path / "0007")
    with pytest.raises(InvalidInput, match=r"got the folder .*; give a file in it"):
        read_weights(tmp_path)


def test_mismatches_under_a_prefix_are_listed(tmp_path: Path) -> None:
    there = prefixed(trained(), "model.")
    del there["model.bn1.bias"]
    there |= {"model.conv_stem.weight": torch.zeros(4, 3, 3, 3), "model.extra": torch.zeros(1)}
    torch.save(there, tmp_path / "w.pth")
    with pytest.raises(InvalidInput) as caught:
        loaded(tmp_path / "w.pth")
    assert (
        "1 keys missing (bn1.bias); 1 keys unexpected (extra); 1 keys of another shape (conv_stem.weight); give"
    ) in str(caught.value)


class Evil:
    """Attack that a pickle can carry."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


class EvilBuiltin(Evil):
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"__import__('pathlib').Path({str(self.mark)!r}).touch()",)


WRITERS: dict[str, Callable[[Any, Path], Any]] = {
    "zip": torch.save,
    "old": lambda value, path: torch.save(value, path, _use_new_zipfile_serialization=False),
    **{f"pickle{n}": lambda value, path, n=n: path.write_bytes(pickle.dumps(value, n)) for n in (0, 2, 3, 4, 5)},
}


@pytest.mark.parametrize("ending", [".pth", ".ckpt"])
@pytest.mark.parametrize(("evil", "name"), [(Evil, f"{os.system.__module__}.system"), (EvilBuiltin, "builtins.eval")])
@pytest.mark.parametrize("writer", sorted(WRITERS))
def test_a_pickle_that_would_run_code_is_refused_by_name(
    writer: str, evil: type[Evil], name: str, ending: str, tmp_path: Path
) -> None:
    mark, path = tmp_path / "pwned", tmp_path / f"w{ending}"
    WRITERS[writer]({"state_dict": {"a": torch.ones(1)}, "trap": evil(mark)}, path)
    with pytest.raises(InvalidInput) as caught:
        read_weights(path)
    message = str(caught.value)
    assert not mark.exists()
    name = name.replace("builtins", "__builtin__") if writer in ("zip", "old", "pickle0", "pickle2") else name
    told = re.match(rf"weights must hold tensors only, got {path}, a pickle that wants to load (.*), which", message)
    assert told is not None
    assert name in told[1].split(", ")
    assert "nothing of it was run" in message
    # The trap is a real one: whoever unpickles it without a check falls into it.
    if writer == "pickle4":
        with path.open("rb") as file:
            pickle.load(file)
        assert mark.exists()


@pytest.mark.parametrize(
    ("beside", "name"),
    [
        (argparse.Namespace(lr=1), "argparse.Namespace"),
        (pathlib.PurePosixPath("a"), "pathlib.PurePosixPath"),
        (datetime.timedelta(1), "datetime.timedelta"),
        (functools.partial(sorted, 1), "builtins.sorted, functools.partial"),
        (re.compile("a"), "re._compile"),
        (enum.Enum("Mode", ["A"], module=__name__, qualname="Mode").A, f"{__name__}.Mode"),
        (nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
    ],
)
def test_objects_beside_the_weights_are_left_out_with_a_message(
    beside: Any, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    if isinstance(beside, enum.Enum):
        monkeypatch.setitem(sys.modules, __name__, types.SimpleNamespace(Mode=type(beside)))
    torch.save({"state_dict": {"a": torch.ones(1)}, "args": beside}, tmp_path / "w.pt")
    assert read_weights(tmp_path / "w.pt").keys() == {"a"}
    assert f"w.pt: objects beside the weights are not loaded ({name}" in caplog.text.replace("__builtin__", "builtins")


def test_a_model_that_was_saved_whole(tmp_path: Path) -> None:
    model = bare_model(ARCHITECTURE, 3, seed=99)
    torch.save(model, tmp_path / "w.pth")
    assert differing(loaded(tmp_path / "w.pth"), model.state_dict()) == set()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensor: tensor * torch.nan, "must be finite real numbers, got .*w.pth: 'conv_stem.weight' holds NaN"),
        (lambda tensor: tensor.to_sparse(), "must be dense tensors of numbers, got .*w.pth: 'conv_stem.weight' is spa"),
        (lambda tensor: tensor.to("meta"), "'conv_stem.weight' is on the device meta, without values; save the"),
        (lambda tensor: tensor.int(), "'conv_stem.weight' is of type int32"),
    ],
)
def test_values_that_cannot_be_trained_on(change: Callable[..., Any], said: str, tmp_path: Path) -> None:
    there = trained()
    torch.save(there | {"conv_stem.weight": change(there["conv_stem.weight"])}, tmp_path / "w.pth")
    with pytest.raises(InvalidInput, match=said):
        loaded(tmp_path / "w.pth")


def test_values_of_a_head_that_is_replaced_do_not_matter(tmp_path: Path) -> None:
    there = trained(5)
    torch.save(there | {"classifier.weight": there["classifier.weight"] * torch.nan}, tmp_path / "w.pth")
    assert loaded(tmp_path / "w.pth")["classifier.weight"].isfinite().all()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_a_file_of_another_kind_is_named(name: str, tmp_path: Path) -> None:
    for content, said in ((b"<!DOCTYPE html>", "an HTML page"), (b"", "an empty file"), (b'{"a": 1}', "a JSON docum")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InvalidInput, match=rf"weights must be .*, got .*{name}: {said}"):
            read_weights(tmp_path / name)


@pytest.mark.timeout(20)
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.pth")
    with pytest.raises(InvalidInput, match=r"w.pth: a weights file must be a file, got a pipe or device; name another"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"epoch": 3, "optimizer": {"lr": 0.1}}, "a mapping of epoch, optimizer; save"),
        ({"state_dict": {}}, "a mapping of state_dict; save"),
        ([torch.ones(1)], "list; save"),
        (torch.ones(2), "Tensor; save"),
        (None, "NoneType; save"),
    ],
)
def test_a_file_without_a_state_dict(value: Any, said: str, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "w.pth")
    with pytest.raises(InvalidInput) as caught:
        read_weights(tmp_path / "w.pth")
    assert "weights must be a state dict, or hold one under state_dict, model_state_dict, model, got" in str(
        caught.value
    )
    assert said in str(caught.value)


def test_an_ending_that_is_no_weights(tmp_path: Path) -> None:
    (tmp_path / "w.onnx").touch()
    with pytest.raises(InvalidInput, match=r"weights file must end in \.safetensors, \.pth, .*, got .*w\.onnx; rename"):
        read_weights(tmp_path / "w.onnx")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    data=st.data(),
    writer=st.sampled_from(["zip", "old", "pickle4", "none"]),
    ending=st.sampled_from([".pth", ".safetensors"]),
)
def test_damaged_files_are_refused_or_read(data: st.DataObject, writer: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"w{ending}"
    if writer == "none":
        path.write_bytes(data.draw(st.binary(max_size=200)))
    else:
        WRITERS[writer]({"state_dict": {"a": torch.arange(3.0), "b": torch.ones(2, 2)}}, path)
        content = bytearray(path.read_bytes())
        # The size differs by some bytes between two writes of one content: what is drawn does not depend on it.
        for place in data.draw(st.lists(st.integers(0, 9999), max_size=4)):
            content[place % len(content)] = data.draw(st.integers(0, 255))
        path.write_bytes(content[: data.draw(st.integers(0, 9999)) % (len(content) + 1)])
    try:
        tensors = read_weights(path)
    except InvalidInput:
        return
    assert all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())
