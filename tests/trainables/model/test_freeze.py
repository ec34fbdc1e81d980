import timm
import torch
from torch import nn

from trainables.model.freeze import changing_names, frozen_digest, set_train_mode, set_trainable
from trainables.model.stages import stage_table


def small() -> nn.Module:
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)),
        nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)),
        nn.Dropout(0.5),
    )


def test_exactly_the_named_parameters_get_gradients_and_frozen_ones_drop_theirs() -> None:
    model = small()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    set_trainable(model, {"1.0.weight", "1.0.bias"})
    state = {name: (p.requires_grad, p.grad is not None) for name, p in model.named_parameters()}
    assert {name for name, flags in state.items() if flags == (True, True)} == {"1.0.weight", "1.0.bias"}
    assert set(state.values()) == {(True, True), (False, False)}


def test_frozen_modules_are_in_eval_mode_with_what_lies_in_them() -> None:
    model = small()
    set_trainable(model, {"1.0.weight"})
    set_train_mode(model)
    modes = {name: module.training for name, module in model.named_modules() if not list(module.children())}
    assert modes == {"0.0": False, "0.1": False, "0.2": False, "1.0": True, "1.1": False, "1.2": True, "2": True}


def test_train_mode_comes_back_with_the_thaw_and_after_evaluation() -> None:
    model = small()
    set_trainable(model, set())
    set_train_mode(model)
    set_trainable(model, {name for name, _ in model.named_parameters()})
    model.eval()
    set_train_mode(model)
    assert all(module.training for module in model.modules())


def test_frozen_statistics_neither_move_nor_follow_the_batch_and_their_scales_train() -> None:
    model = timm.create_model("test_efficientnet", num_classes=3)
    norms = {name: module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    before = {name: value.clone() for name, value in model.named_buffers()}
    set_trainable(model, {name for name, _ in model.named_parameters()})
    set_train_mode(model, "frozen")
    assert norms
    assert not any(norm.training for norm in norms.values())
    assert all(module.training for module in model.modules() if not isinstance(module, nn.BatchNorm2d))
    images = torch.rand(4, 3, 32, 32)
    one, four = model(images[:1]), model(images)
    torch.testing.assert_close(one[0], four[0], rtol=1e-4, atol=1e-5)
    four.sum().backward()
    assert all(norm.weight.grad is not None for norm in norms.values())
    torch.testing.assert_close(dict(model.named_buffers()), before, rtol=0, atol=0)
    set_train_mode(model)
    assert all(norm.training for norm in norms.values())


def test_a_frozen_prefix_builds_no_graph() -> None:
    model = timm.create_model("resnet10t", num_classes=3)
    table = stage_table(model)
    graphs: dict[str, bool] = {}
    for name, module in model.named_children():
        module.register_forward_hook(lambda _m, _i, output, name=name: graphs.update({name: output.requires_grad}))
    set_trainable(model, table.trainable(2))
    set_train_mode(model)
    model(torch.zeros(2, 3, 32, 32)).sum().backward()
    assert {name for name, has_graph in graphs.items() if has_graph} == {"layer3", "layer4", "global_pool", "fc"}
    with_gradient = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert with_gradient == table.trainable(2)


def test_names_that_training_can_change_are_those_with_gradients_and_the_buffers_of_modules_in_train_mode() -> None:
    model = small()
    set_trainable(model, {"1.0.weight"})
    assert changing_names(model) == {"1.0.weight"}
    set_trainable(model, {"1.0.weight", "1.1.bias"})
    statistics = {f"1.1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    assert changing_names(model) == {"1.0.weight", "1.1.bias"} | statistics
    assert changing_names(model, "frozen") == {"1.0.weight", "1.1.bias"}
    set_trainable(model, {name for name, _ in model.named_parameters()})
    assert changing_names(model) == set(model.state_dict())


def test_statistics_without_scales_change_although_nothing_of_their_own_is_thawed() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2, affine=False), nn.Linear(2, 2))
    set_trainable(model, {"1.weight"})
    names = changing_names(model)
    model(torch.rand(4, 2))
    assert int(model[0].num_batches_tracked) == 1
    assert {"0.running_mean", "0.running_var", "0.num_batches_tracked", "1.weight"} == names


def test_a_tied_weight_changes_under_each_of_its_names() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    set_trainable(model, {"0.weight"})
    assert changing_names(model) == {"0.weight", "1.weight"}


def test_buffers_that_are_not_saved_are_not_named() -> None:
    model = nn.Linear(2, 2)
    model.register_buffer("index", torch.arange(2), persistent=False)
    assert changing_names(model) == {"weight", "bias"}


def test_the_digest_is_of_all_that_has_not_changed_and_of_nothing_else() -> None:
    model = small()
    state, changed = model.state_dict(), {"1.0.weight"}
    digest = frozen_digest(state, changed, {})
    assert frozen_digest(dict(reversed(state.items())), changed, {}) == digest
    model.to(memory_format=torch.channels_last)
    assert frozen_digest(model.state_dict(), changed, {}) == digest
    with torch.no_grad():
        model[1][0].weight += 1
    assert frozen_digest(model.state_dict(), changed, {}) == digest
    for name in state.keys() - changed:
        other = {**state, name: state[name] + 1}
        assert frozen_digest(other, changed, {}) != digest
        assert frozen_digest(state, {*changed, name}, {}) != digest
        assert frozen_digest({**state, name: state[name].unsqueeze(0)}, changed, {}) != digest
    assert frozen_digest(state, state.keys(), {}) is None


def test_a_tensor_whose_digest_is_known_is_not_read_again() -> None:
    state = small().state_dict()
    known: dict[str, str] = {}
    digest = frozen_digest(state, {"0.0.bias"}, known)
    assert len(known) == len(state) - 1
    absent = {name: tensor.to("meta") for name, tensor in state.items()}
    assert frozen_digest(absent, {"0.0.bias"}, known) == digest
