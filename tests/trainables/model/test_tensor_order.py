from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig
from trainables.model.build import bare_model, build_model
from trainables.model.tensor_order import by_order, fits_by_order

Tensors = dict[str, torch.Tensor]
ARCHITECTURE = "test_efficientnet"
HEAD = {"classifier.weight", "classifier.bias"}


def unnamed(tensors: Tensors) -> Tensors:
    """The tensors in their order, without counters of batches, under names that say nothing."""
    kept = [tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")]
    return {f"layer{number * 7 % 1000}": tensor for number, tensor in enumerate(kept)}


def equal(one: Tensors, other: Tensors) -> set[str]:
    return {name for name in one if torch.equal(one[name], other[name])}


@pytest.mark.parametrize("classes", [3, 1000])
def test_tensors_are_matched_whatever_their_names(
    classes: int, tmp_path: Path, trial_config: Callable[..., TrialConfig]
) -> None:
    there = bare_model(ARCHITECTURE, classes, seed=99).state_dict()
    torch.save({"state_dict": unnamed(there)}, tmp_path / "w.pth")
    config = trial_config(weights=str(tmp_path / "w.pth"), weights_layout="by_order")
    mine = build_model(config, 3).state_dict()
    assert mine.keys() - equal(mine, there) == (set() if classes == 3 else HEAD)


def test_a_model_that_was_saved_whole_has_its_order(tmp_path: Path, trial_config: Callable[..., TrialConfig]) -> None:
    """Of a library whose ResNet has timm's order of layers, the same names apart."""
    source = torchvision.models.resnet18(num_classes=3)
    torch.save(source, tmp_path / "w.pth")
    config = trial_config(weights=str(tmp_path / "w.pth"), weights_layout="by_order", architecture="resnet18")
    mine = build_model(config, 3).state_dict()
    assert equal(mine, source.state_dict()) == mine.keys()


@settings(max_examples=30)
@given(st.data())
def test_a_tensor_too_few_too_many_or_of_another_shape_is_named(data: st.DataObject) -> None:
    model = bare_model(ARCHITECTURE, 3)
    own = model.state_dict()
    there = unnamed(own)
    names = list(there)
    place = data.draw(st.integers(0, len(names) - 3), label="place in the backbone")
    match data.draw(st.sampled_from(["shape", "short", "more"])):
        case "shape":
            there[names[place]] = torch.ones(3, 5, 7)
            said = rf"tensor {place + 1}, {names[place]}, has the shape \(3, 5, 7\) in place of that of "
        case "short":
            there = {name: there[name] for name in names[:place]}
            said = f"it ends before tensor {place + 1}, "
        case _:
            there = {**{name: there[name] for name in names[:place]}, "odd": torch.ones(3, 5, 7), **there}
            said = rf"tensor {place + 1}, odd, has the shape \(3, 5, 7\) in place of that of "
    with pytest.raises(InvalidInput, match=rf"have the tensors of {ARCHITECTURE} in its order .*, got w.pth: {said}"):
        by_order(there, model, ARCHITECTURE, "w.pth")
    assert not fits_by_order(there, model)


def test_the_message_for_unknown_names_points_to_the_setting(
    tmp_path: Path, trial_config: Callable[..., TrialConfig]
) -> None:
    there = unnamed(bare_model(ARCHITECTURE, 3, seed=99).state_dict())
    torch.save(there, tmp_path / "w.pth")
    save_file(there, tmp_path / "w.safetensors")
    with pytest.raises(InvalidInput, match="its tensors fit in their order: set weights_layout: by_order, which meas"):
        build_model(trial_config(weights=str(tmp_path / "w.pth")), 3)
    with pytest.raises(InvalidInput, match="set architecture to the one it was made for"):
        build_model(trial_config(weights=str(tmp_path / "w.safetensors")), 3)
    with pytest.raises(InvalidInput, match=r"needs a file that keeps the order of the layers .*safetensors sorts them"):
        build_model(trial_config(weights=str(tmp_path / "w.safetensors"), weights_layout="by_order"), 3)
