"""The cases of the field about weights, and settings that no first epoch could survive."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from field_cases import FieldCase
from PIL import Image

TRIAL = ["trial", "trial.yaml", "--out", "out"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("F29-timm-training-checkpoint", ["the head is replaced", "not loaded (argparse.Namespace)"]),
        ("F30-torchvision-layout", ["the keys of torchvision are mapped", "the head is replaced"]),
        ("P07-lightning-checkpoint", ["the prefix model. of its keys is stripped", "the head is replaced"]),
    ],
)
def test_a_checkpoint_as_people_have_it_is_trained_on(
    field_case: Callable[[str], FieldCase], name: str, words: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    case = field_case(name)
    runpy.run_path("make.py")  # in this process, which has imported torch
    answer = case.thaw(*TRIAL)
    assert answer.code == 0, answer.text
    assert [word for word in words if word not in caplog.text] == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("F26-batch-of-one", ["batch_size: 1 for 4 images of train: BatchNorm needs two values", "set batch_size: 2,"]),
        ("F31-weights-lfs-pointer", ["w.safetensors: a Git LFS pointer", "git lfs pull"]),
        ("F47-nan-weights", ["nan.pth: 'conv_stem.weight' holds NaN"]),
    ],
)
def test_what_no_epoch_could_survive_is_refused_before_it(
    field_case: Callable[[str], FieldCase], name: str, words: list[str]
) -> None:
    case = field_case(name)
    if Path("make.py").exists():
        runpy.run_path("make.py")
    answer = case.thaw(*TRIAL)
    assert answer.code == 2, answer.text
    assert "Traceback" not in answer.text
    assert [word for word in words if word not in answer.text] == []


@pytest.mark.parametrize("command", [["explain", "trial.yaml"], TRIAL])
def test_a_tag_that_timm_lacks_is_answered_with_those_it_has(
    field_case: Callable[[str], FieldCase], command: list[str]
) -> None:
    answer = field_case("F27-unknown-tag").thaw(*command)
    assert answer.code == 2, answer.text
    assert "there is no tag 'in22k'; there are mobilenetv3_small_050.lamb_in1k" in answer.text


def test_the_photo_of_a_phone_of_108_megapixels_is_read(field_case: Callable[[str], FieldCase]) -> None:
    case = field_case("F39-very-large-photo")
    Image.new("RGB", (12000, 9000)).save(Path("photos/train/cat/z.jpg"))
    answer = case.thaw("data", "preview", "trial.yaml")
    assert answer.code == 0, answer.text
