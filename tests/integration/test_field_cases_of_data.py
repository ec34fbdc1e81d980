"""Cases of the field about folders, manifests and images, each as its right result has it."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from field_cases import FieldCase
from PIL import Image

from trainables.bundle.export import export_bundle
from trainables.data.preprocess import Preprocessing
from trainables.model.build import bare_model

FieldCases = Callable[[str], FieldCase]


@pytest.mark.parametrize(
    ("name", "images", "words"),
    [
        ("F01-symlink-loop", {"cat": 2, "dog": 2}, ["1 file left out (1 linked to a folder of the data set)"]),
        ("F08-csv-semicolon", {"cat": 2, "dog": 2}, []),
        ("F09-csv-header-words", {"cat": 2, "dog": 2}, []),
        ("F09b-csv-header-capitals", {"cat": 2, "dog": 2}, []),
        ("F10-csv-one-hot", {"cat": 2, "dog": 2}, []),
        ("F11-csv-backslashes", {"cat": 2, "dog": 2}, []),
        ("F12-csv-split-valid", {"cat": 2, "dog": 2}, []),
        ("F15-eadir-thumbnails", {"cat": 2, "dog": 2}, []),
        (
            "F16c-class-case-only",
            {"Cat": 1, "cat": 2, "dog": 2},
            ["the classes Cat and cat differ only in capitals", "val has no image of Cat"],
        ),
        (
            "F20-files-left-out-silently",
            {"cat": 3, "dog": 2},
            ["3 files left out (", "1 .heic", "1 without a usual ending", "1 outside a class folder"],
        ),
        ("F21-ppm-only", {"cat": 2, "dog": 2}, []),
        ("F36-val-has-one-class", {"cat": 2, "dog": 2}, ["val has no image of dog"]),
        ("F38-twelve-bits-in-sixteen", {"cat": 3, "dog": 2}, ["no value above 4080 of 65535", "train/cat/xray.png"]),
        (
            "F40-same-file-in-two-classes-and-splits",
            {"cat": 2, "dog": 3},
            ["1 under two labels", "1 in both train and val"],
        ),
        ("P02-class-names", None, []),
    ],
)
def test_the_data_set_is_what_people_think_it_is(
    field_case: FieldCases, name: str, images: dict[str, int] | None, words: list[str]
) -> None:
    case = field_case(name)
    answer = case.thaw("data", "preview", "trial.yaml", "--format", "json")
    assert answer.code == 0, answer.text
    document = json.loads(answer.out)
    remarks = "\n".join(document["remarks"])
    if images is not None:
        assert {entry["label"]: entry["images"] for entry in document["classes"]} == images
    assert [word for word in words if word not in remarks] == []
    assert bool(document["remarks"]) is bool(words)
    assert [word for word in words if word not in case.thaw("data", "preview", "trial.yaml").text] == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("F13-csv-nan-label", ["m.csv:3: label must not be empty, got 'nan'"]),
        ("F16-nfc-nfd-class", ["\\xe9", "e\\u0301", "Unicode form"]),
        ("F17-test-without-labels", ["got 2 in test/ itself, in no class folder", "data.test: none"]),
        ("F22-flat-train", ["got 4 in train/ itself, in no class folder", "manifest"]),
        ("F23-unsplit", ["got cat/, dog/", "set `data.split: {val: 0.15, test: 0.15}`, which divides the images"]),
        ("F24-one-level-too-deep", ["photos/photos has a folder train/: set data.root to it"]),
        ("F25-file-name-not-utf8", ["name in UTF-8, got 'val/cat/caf\\udce9.jpg'; rename"]),
        ("F18-several-bad-images", ["got 4 that are not", "z0.jpg", "z1.jpg", "z2.jpg", "z3.jpg"]),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_remedy(field_case: FieldCases, name: str, words: list[str]) -> None:
    case = field_case(name)
    for command in (("data", "preview", "trial.yaml"), ("trial", "trial.yaml", "--out", "out")):
        answer = case.thaw(*command)
        assert answer.code == 2, answer.text
        assert [word for word in words if word not in answer.text] == []
    assert not (case.folder / "out").exists()


def test_macro_f1_is_that_of_all_classes_of_train(field_case: FieldCases) -> None:
    """Val has cats alone. A model that takes every photo for a cat has F1 of 1 for cat, and 0 for dog."""
    case = field_case("F36-val-has-one-class")
    answer = case.thaw("trial", "trial.yaml", "--out", "out")
    assert answer.code == 0, answer.text
    (report, *_) = json.loads((case.folder / "out/checkpoints/best/state.json").read_text())["reports"]
    accuracy = report["metrics"]["val/accuracy"]
    assert report["metrics"]["val/macro_f1"] == pytest.approx(accuracy / (1 + accuracy))


def test_a_test_split_without_labels_can_be_left_out(field_case: FieldCases) -> None:
    answer = field_case("F17-test-without-labels").thaw("data", "preview", "trial.yaml", "--set", "data.test=none")
    assert answer.code == 0, answer.text


def test_all_bad_images_are_in_the_json(field_case: FieldCases) -> None:
    answer = field_case("F18-several-bad-images").thaw("data", "preview", "trial.yaml", "--format", "json")
    assert answer.code == 2
    bad = json.loads(answer.out)["bad_images"]
    assert [Path(entry["path"]).name for entry in bad] == ["z0.jpg", "z1.jpg", "z2.jpg", "z3.jpg"]
    assert all(entry["error"].startswith(f"{entry['path']}: image must be complete") for entry in bad)


def test_bad_images_can_be_left_out(field_case: FieldCases) -> None:
    case, skip = field_case("F18-several-bad-images"), ("--set", "data.on_bad_image=skip")
    answer = case.thaw("data", "preview", "trial.yaml", "--format", "json", *skip)
    assert answer.code == 0, answer.text
    document = json.loads(answer.out)
    assert [Path(entry["path"]).name for entry in document["bad_images"]] == ["z0.jpg", "z1.jpg", "z2.jpg", "z3.jpg"]
    assert "are left out (data.on_bad_image: skip): 4 of train" in document["remarks"][0]
    for command in (("trial", "trial.yaml", "--out", "out"), ("explain", "trial.yaml")):
        answer = case.thaw(*command, *skip)
        assert answer.code == 0, answer.text


def test_a_bad_image_of_test_is_named_before_the_sweep(field_case: FieldCases) -> None:
    case = field_case("F48-bad-image-in-test")
    answer = case.thaw("sweep", "s.yaml")
    assert answer.code == 2, answer.text
    assert "test/dog/zz.jpg: image must be complete and readable" in answer.text
    assert not (case.folder / "runs").exists()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model of random weights."""
    photo = io.BytesIO()
    Image.new("RGB", (32, 32)).save(photo, "PNG")
    preprocessing = Preprocessing(image_size=32, resize_mode="squash", mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
    config = {"architecture": "test_efficientnet", "data": {"root": "photos"}}
    folder, photos = tmp_path_factory.mktemp("bundle"), [("a.png", photo.getvalue())]
    network = bare_model("test_efficientnet", 2)
    return export_bundle(network, ("cat", "dog"), preprocessing, config, "sha256:0", photos, folder).model


def test_one_bad_image_costs_no_other_its_label(field_case: FieldCases, model: Path) -> None:
    case = field_case("F19-predict-one-bad-image")
    answer = case.thaw("predict", str(model), "new", "--format", "json")
    assert answer.code == 1, answer.text
    answers = json.loads(answer.out)
    assert [Path(entry["path"]).name for entry in answers] == ["0.jpg", "1.jpg", "1b.jpg", "2.jpg"]
    bad = [entry for entry in answers if "error" in entry]
    assert [entry["path"] for entry in bad] == ["new/1b.jpg"]
    assert bad[0]["label"] is None
    assert bad[0]["error"].startswith("new/1b.jpg: image must be complete and readable")
    table = case.thaw("predict", str(model), "new")
    assert table.code == 1
    assert "new/2.jpg" in table.out
    assert "error: new/1b.jpg: image must be complete" in table.err
    assert case.thaw("predict", str(model), "new/1b.jpg").code == 2


def test_a_name_of_a_bad_image_commands_no_terminal(field_case: FieldCases, model: Path) -> None:
    case = field_case("F19-predict-one-bad-image")
    (case.folder / "new" / "1b.jpg").rename(case.folder / "new" / "\x1b[31m.jpg")
    (case.folder / "new" / "2.jpg").rename(case.folder / "new" / "\x1b[32m.jpg")
    answer = case.thaw("predict", str(model), "new")
    assert answer.code == 1
    assert "\\x1b[32m.jpg" in answer.out
    assert "error: new/\\x1b[31m.jpg: image must be" in answer.err
    assert "\x1b" not in answer.out + answer.err


def test_photos_that_are_not_split_are_divided(field_case: FieldCases) -> None:
    case = field_case("F23-unsplit")
    split = ("--set", "data.split={val: 0.2, seed: 0}")
    document = json.loads(case.thaw("data", "preview", "trial.yaml", *split, "--format", "json").out)
    assert {entry["label"]: entry["images"] for entry in document["classes"]} == {"cat": 1, "dog": 1}
    answer = case.thaw("trial", "trial.yaml", "--out", "out", *split)
    assert answer.code == 0, answer.text
