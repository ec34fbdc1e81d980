from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from trainables.model.build import bare_model
from trainables.model.inert_pickle import Inert
from trainables.model.state_dicts import find_state_dict
from trainables.model.torch_file import open_torch_file


class Attributes(dict[str, Any]):
    """Dictionary of a class of its own, as Lightning and other tools have."""


def found(value: Any, path: Path) -> dict[str, torch.Tensor] | None:
    torch.save(value, path)
    with open_torch_file(path) as file:
        notes = find_state_dict(file.value)
        return None if notes is None else file.tensors(notes)


@pytest.mark.parametrize("architecture", ["test_efficientnet", "test_vit", "swin_tiny_patch4_window7_224"])
def test_a_module_that_was_pickled_whole_gives_its_state_dict(architecture: str, tmp_path: Path) -> None:
    model = bare_model(architecture, 3)
    for value in (model, {"model": model, "epoch": 3}):
        mine = found(value, tmp_path / "w")
        assert mine is not None
        assert mine.keys() == model.state_dict().keys()
        assert all(torch.equal(mine[name], tensor) for name, tensor in model.state_dict().items())


def test_a_dictionary_of_another_class_is_one(tmp_path: Path) -> None:
    tensors = {"a.weight": torch.ones(2)}
    for value in (Attributes(tensors), Attributes(state_dict=tensors), {"state_dict": Attributes(tensors)}):
        assert (found(value, tmp_path / "w") or {}).keys() == tensors.keys()


@pytest.mark.parametrize("value", [None, 7, [torch.ones(1)], {"state_dict": 3}, {"a": 1, "b": 2, "c": torch.ones(1)}])
def test_what_holds_no_state_dict(value: Any, tmp_path: Path) -> None:
    assert found(value, tmp_path / "w") is None
    assert found(nn.Identity(), tmp_path / "w") is None


@pytest.mark.timeout(20)
def test_modules_that_hold_themselves_have_an_end() -> None:
    module = Inert("m")
    for _ in range(60):
        module = Inert("m", state={"_modules": {"a": module, "b": module}})
    assert find_state_dict(module) is None
    module.state["_modules"]["a"] = module
    assert find_state_dict(module) is None
