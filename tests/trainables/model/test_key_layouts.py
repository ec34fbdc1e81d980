import logging
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from library_models import CLASSES, LIBRARY_MODELS, LISTINGS, listed, listing
from safetensors.torch import save_file
from timm.models.vgg import ConvMlp
from torch import nn

from search_spaces.errors import InvalidInput
from trainables.model.build import bare_model
from trainables.model.weights import load_weights

# torchvision's name, timm's, and the size of image to compare at.
PAIRS = [
    ("mobilenet_v2", "mobilenetv2_100", 64),
    ("mobilenet_v3_small", "mobilenetv3_small_100", 64),
    ("mobilenet_v3_large", "mobilenetv3_large_100", 64),
    ("efficientnet_b0", "efficientnet_b0", 64),
    ("efficientnet_b1", "efficientnet_b1", 64),
    ("efficientnet_b3", "efficientnet_b3", 64),
    ("efficientnet_b5", "efficientnet_b5", 64),
    ("efficientnet_v2_s", "efficientnetv2_s", 64),
    ("resnet18", "resnet18", 64),
    ("resnet50", "resnet50", 64),
]


def trained(model: nn.Module) -> nn.Module:
    """The model with statistics and scales of BatchNorm as training leaves them."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low in ((module.weight, 0.5), (module.bias, -0.1), (module.running_var, 0.01)):
                tensor.data.uniform_(low, low + 1, generator=generator)
            assert module.running_mean is not None
            module.running_mean.data.uniform_(-0.2, 0.2, generator=generator)
    return model.eval()


@pytest.mark.parametrize(("theirs", "ours", "size"), PAIRS)
def test_logits_are_those_of_torchvision(theirs: str, ours: str, size: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    # In double precision: random weights make logits of millions, in which single precision loses the fifth digit.
    source = trained(torchvision.models.get_model(theirs, num_classes=5, weights=None)).double()
    save_file(source.state_dict(), tmp_path / "w.safetensors")  # which sorts the keys
    model = bare_model(ours, 5).double().eval()
    load_weights(model, ours, tmp_path / "w.safetensors")
    images = torch.randn(2, 3, size, size, dtype=torch.float64)
    with torch.no_grad():
        wanted, got = source(images), model(images)
    assert wanted.std() > 1e-6
    assert (wanted - got).abs().max() <= 1e-5


@pytest.mark.parametrize("name", ["vgg11", "vgg13_bn", "vgg16", "vgg19_bn"])
def test_logits_are_those_of_torchvisions_vgg(name: str, tmp_path: Path) -> None:
    """With hidden layers of 32 in place of 4096, which take half a gigabyte."""
    with torch.device("meta"):
        source = torchvision.models.get_model(name, weights=None, init_weights=False)
        layers = (nn.Linear(512 * 49, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 32), nn.ReLU(), nn.Dropout())
        source.classifier = nn.Sequential(*layers, nn.Linear(32, 5))
    source = source.to_empty(device="cpu").double()
    for tensor in source.state_dict().values():
        if tensor.is_floating_point():
            tensor.normal_(0, 0.03)
    source = trained(source)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    with torch.device("meta"):
        model = timm.create_model(name)
        model.pre_logits, model.head.fc = ConvMlp(512, 32, 7), nn.Linear(32, 5)
    model = model.to_empty(device="cpu").double().eval()
    load_weights(model, name, tmp_path / "w.safetensors")
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        wanted, got = source(images), model(images)
    assert wanted.std() > 0
    assert (wanted - got).abs().max() <= 1e-5


def test_a_head_of_another_size_and_a_wrapper_are_as_in_timms_layout(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    source = torchvision.models.mobilenet_v3_small(num_classes=5).state_dict()
    lightning = {"model." + name: tensor for name, tensor in source.items()} | {"loss.weight": torch.ones(5)}
    torch.save({"state_dict": lightning}, tmp_path / "last.ckpt")
    model = bare_model("mobilenetv3_small_100", 3)
    load_weights(model, "mobilenetv3_small_100.lamb_in1k", tmp_path / "last.ckpt")
    assert torch.equal(model.state_dict()["conv_stem.weight"], source["features.0.0.weight"])
    assert caplog.messages[-2:] == [
        "last.ckpt: the keys of torchvision are mapped to those of timm",
        "last.ckpt: the head is replaced by a new one of 3 classes",
    ]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("mobilenet_v3_small", "mobilenetv3_large_100"),
        ("mobilenet_v3_small", "mobilenetv3_small_050"),
        ("mobilenet_v3_large", "tf_mobilenetv3_large_100"),  # pads otherwise: other logits with the same shapes
        ("efficientnet_b0", "tf_efficientnet_b0"),
        ("efficientnet_b0", "efficientnet_b1"),
        ("mobilenet_v2", "resnet18"),
    ],
)
def test_a_model_that_is_another_is_refused_with_the_layout(theirs: str, ours: str, tmp_path: Path) -> None:
    torch.save(torchvision.models.get_model(theirs, weights=None).state_dict(), tmp_path / "w.pth")
    with pytest.raises(InvalidInput, match=rf"fit the architecture {ours}, got .*w.pth, in the key layout of torchvis"):
        load_weights(bare_model(ours, 5), ours, tmp_path / "w.pth")


def test_a_tensor_of_another_shape_is_no_pair(tmp_path: Path) -> None:
    source = torchvision.models.mobilenet_v2(num_classes=5).state_dict()
    source["features.5.conv.1.0.weight"] = torch.ones(7)
    torch.save(source, tmp_path / "w.pth")
    with pytest.raises(InvalidInput, match="in the key layout of torchvision"):
        load_weights(bare_model("mobilenetv2_100", 5), "mobilenetv2_100", tmp_path / "w.pth")
    source = torchvision.models.mobilenet_v2(num_classes=5).state_dict()
    del source["features.5.conv.1.1.bias"]
    torch.save(source, tmp_path / "w.pth")
    with pytest.raises(InvalidInput, match="1 keys missing"):
        load_weights(bare_model("mobilenetv2_100", 5), "mobilenetv2_100", tmp_path / "w.pth")


@pytest.mark.parametrize("name", LIBRARY_MODELS)
def test_the_keys_of_a_library_are_mapped_one_to_one(name: str, tmp_path: Path) -> None:
    """By a listing of its keys and shapes; each tensor holds its own number."""
    there, ours = listed(name), LIBRARY_MODELS[name][0]
    save_file(there, tmp_path / "w.safetensors")
    model = bare_model(ours, CLASSES)
    load_weights(model, ours, tmp_path / "w.safetensors")
    keys, numbers = [*there], {}
    for own, tensor in model.state_dict().items():
        assert tensor.unique().numel() == 1
        numbers[own] = int(tensor.flatten()[0])
        assert keys[numbers[own] - 1].rpartition(".")[2] == own.rpartition(".")[2]
    assert sorted(numbers.values()) == list(range(1, len(there) + 1))


@pytest.mark.filterwarnings("default")  # those of the library at its import
@pytest.mark.parametrize("name", LIBRARY_MODELS)
def test_logits_are_those_of_a_library_that_is_installed(name: str, tmp_path: Path) -> None:
    ours, build = LIBRARY_MODELS[name]
    torch.manual_seed(0)
    source = trained(build()).double()
    assert listing(source) == (LISTINGS / f"{name}.txt").read_text()
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    model = bare_model(ours, CLASSES).double().eval()
    load_weights(model, ours, tmp_path / "w.safetensors")
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        wanted = source(images)
        wanted, got = getattr(wanted, "logits", wanted), model(images)
    assert wanted.std() > 1e-6
    assert (wanted - got).abs().max() <= 1e-5


@pytest.mark.parametrize(
    ("tensors", "ours", "said"),
    [
        ("transformers-efficientnet-b0", "efficientnet_b0", r"such as tf_efficientnet_b0 \(efficientnet_b0 pads"),
        ("efficientnet_pytorch-b0", "efficientnet_b0", r"such as tf_efficientnet_b0 \(efficientnet_b0 pads"),
        ("transformers-resnet18", "resnet26", "such as resnet50, or convert"),
        ("mobilenet_v1.conv_stem.convolution.weight", "mobilenetv1_100", "pads images as TensorFlow does, and none of"),
        ("mobilenet_v2.conv_stem.first_conv.convolution.weight", "mobilenetv2_100", "pads .* weights_layout: by_order"),
    ],
)
def test_a_model_that_pads_otherwise_or_is_another_is_refused(
    tensors: str, ours: str, said: str, tmp_path: Path
) -> None:
    there = {tensors: torch.ones(32, 3, 3, 3)} if "." in tensors else listed(tensors)
    save_file(there, tmp_path / "w.safetensors")
    with pytest.raises(InvalidInput, match=rf"in the key layout of (transformers|efficientnet_pytorch), .*{said}"):
        load_weights(bare_model(ours, CLASSES), ours, tmp_path / "w.safetensors")
