import dataclasses
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from torch import nn

from search_spaces.errors import InvalidInput
from trainables.bundle.export import ExportBundle
from trainables.bundle.onnx_file import write_metadata
from trainables.bundle.predict import Prediction, Predictor, UnreadableImage, image_files, softmax

Small = tuple[nn.Module, ExportBundle]
Photos = list[tuple[str, bytes]]


@pytest.fixture(scope="module")
def predictor(small: Small) -> Predictor:
    return Predictor.open(small[1].model)


@pytest.fixture
def folder(tmp_path: Path, photos: Photos) -> Path:
    """Seven photos in two folders, and what is no photo."""
    root = tmp_path / "photos"
    for i, (name, data) in enumerate(photos[:7]):
        path = root / "ba"[i % 2] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (root / "a" / "notes.txt").write_text("no photo")
    (root / "a" / "._photo1.jpg").write_bytes(b"left by a Mac")
    (root / "a" / "LOUD.JPG").write_bytes(photos[7][1])
    return root


def test_metadata_round_trip(small: Small, predictor: Predictor) -> None:
    bundle = small[1]
    assert predictor.labels == bundle.labels
    assert predictor.preprocessing == bundle.preprocessing
    assert predictor.config == bundle.config
    assert predictor.config["data"]["root"] == "data/ü"
    assert predictor.fingerprint == "sha256:abc"
    assert predictor.opset == bundle.opset >= 18
    assert predictor.version == "0.1.0"
    assert predictor.parity is not None
    assert predictor.parity == json.loads(json.dumps(bundle.parity.to_json()))


def test_batch_sizes_agree(predictor: Predictor, photos: Photos) -> None:
    batch = predictor.preprocess(photos[:8])
    whole = predictor.logits(batch)
    assert whole.shape == (8, 6)
    assert whole.dtype == np.float32
    for size in (1, 3):
        parts = [predictor.logits(batch[i : i + size]) for i in range(0, 8, size)]
        np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-5 * np.abs(whole).max())
    assert predictor.logits(batch[:0]).shape == (0, 6)


def test_one_prediction_a_photo_in_order(predictor: Predictor, photos: Photos) -> None:
    predictions = predictor.predict_bytes(photos, batch_size=4, top=3)
    assert [p.path for p in predictions] == [name for name, _ in photos]
    expected = predictor.logits(predictor.preprocess(photos)).argmax(axis=1)
    assert [p.label for p in predictions] == [predictor.labels[i] for i in expected]
    for p in predictions:
        assert p.top[0] == (p.label, p.probability)
        assert len(p.top) == 3
        assert sorted((q for _, q in p.top), reverse=True) == [q for _, q in p.top]
    assert predictor.predict_bytes([]) == []
    everything = predictor.predict_bytes(photos[:1], top=99)[0].top
    assert sum(q for _, q in everything) == pytest.approx(1)
    assert {label for label, _ in everything} == set(predictor.labels)


def test_a_frame_in_memory_is_predicted_as_its_file_is(predictor: Predictor) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "PNG")
    (expected,) = predictor.predict_bytes([("", file.getvalue())], top=3)
    assert predictor.predict(frame, top=3) == expected


@pytest.mark.parametrize(
    "frame",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)],
)
def test_another_array_is_no_frame(predictor: Predictor, frame: Any) -> None:
    with pytest.raises(InvalidInput, match=r"must be an array of uint8 of shape \(height, width, 3\), red first, got "):
        predictor.predict(frame)


def test_a_mirror_image_has_half_a_vote(predictor: Predictor, folder: Path) -> None:
    path = folder / "b" / "photo0.jpg"
    batch = predictor.preprocess([(str(path), path.read_bytes())])
    expected = np.mean([softmax(predictor.logits(view)) for view in (batch, batch[..., ::-1])], axis=0)[0]
    (found,) = predictor.predict_each([path], top=99, mirror=True)
    assert isinstance(found, Prediction)
    assert dict(found.top) == pytest.approx(dict(zip(predictor.labels, expected, strict=True)))


def test_json_of_a_prediction(predictor: Predictor, photos: Photos) -> None:
    document = json.loads(json.dumps(predictor.predict_bytes(photos[:1], top=2)[0].to_json()))
    assert list(document) == ["path", "label", "probability", "top"]
    assert [list(entry) for entry in document["top"]] == [["label", "probability"]] * 2
    assert document["top"][0] == {"label": document["label"], "probability": document["probability"]}


def test_folders_stand_for_their_images_sorted(predictor: Predictor, folder: Path) -> None:
    names = [str(Path(p.path).relative_to(folder)) for p in predictor.predict_files([folder], batch_size=3)]
    assert names == [
        "a/LOUD.JPG", "a/photo1.jpg", "a/photo3.jpg", "a/photo5.jpg",
        "b/photo0.jpg", "b/photo2.jpg", "b/photo4.jpg", "b/photo6.jpg",
    ]  # fmt: skip
    one = folder / "b" / "photo0.jpg"
    assert [p.path for p in predictor.predict_files([one, one])] == [str(one), str(one)]


def test_links_to_folders_are_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "b").symlink_to(folder / "b")
    assert len(list(image_files([tmp_path / "linked"]))) == 4


def test_bad_images_are_named(predictor: Predictor, folder: Path, photos: Photos) -> None:
    with pytest.raises(InvalidInput, match=r"nope\.jpg: no such image; check the path"):
        predictor.predict_files([folder, Path("nope.jpg")])
    (folder / "none").mkdir()
    with pytest.raises(InvalidInput, match=r"none: no image in this folder; name one that holds \.jpg"):
        predictor.predict_files([folder / "none"])
    broken = folder / "b" / "broken.jpg"
    broken.write_bytes(photos[0][1][:200])
    with pytest.raises(InvalidInput, match=r"broken\.jpg"):
        list(predictor.predict_files([folder]))
    with pytest.raises(InvalidInput, match=r"text\.jpg"):
        predictor.predict_bytes([("text.jpg", b"no image")])


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_each_photo_has_an_answer_though_some_are_bad(predictor: Predictor, folder: Path, batch_size: int) -> None:
    expected = {found.path: found for found in predictor.predict_files([folder], batch_size=1)}
    bad = [folder / "a" / "photo2b.jpg", folder / "b" / "broken.jpg"]
    for path in bad:
        path.write_bytes(b"no image")
    answers = list(predictor.predict_each([folder], batch_size=batch_size))
    assert [answer.path for answer in answers] == sorted([*expected, *map(str, bad)])
    for answer in answers:
        if isinstance(answer, Prediction):
            assert answer.label == expected[answer.path].label
        else:
            assert list(answer.to_json()) == ["path", "label", "probability", "top", "error"]
            assert answer.error.startswith(f"{answer.path}: image must be complete")
    assert [answer.path for answer in answers if isinstance(answer, UnreadableImage)] == [*map(str, bad)]
    assert [answer.path for answer in predictor.predict_each([bad[0], bad[0]])] == [str(bad[0])] * 2


@pytest.mark.parametrize("name", ["batch_size", "top"])
def test_counts_must_be_positive(predictor: Predictor, photos: Photos, name: str) -> None:
    arguments: dict[str, Any] = {name: 0}
    with pytest.raises(InvalidInput, match=f"`{name} >= 1`, got {name}=0; leave it out"):
        predictor.predict_bytes(photos, **arguments)


def test_files_that_are_no_model(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"absent\.onnx: no such model; check the path"):
        Predictor.open(tmp_path / "absent.onnx")
    with pytest.raises(InvalidInput, match=r"must be an ONNX file, got a folder; name the model\.onnx"):
        Predictor.open(tmp_path)
    for content in (b"", b"just text"):
        (tmp_path / "text.onnx").write_bytes(content)
        with pytest.raises(InvalidInput, match=r"text\.onnx: must be an ONNX model, .*`thaw export RUN`"):
            Predictor.open(tmp_path / "text.onnx")


def test_models_that_thaw_did_not_export(small: Small, tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    model = onnx.load(small[1].model)
    del model.metadata_props[:]
    onnx.save(model, path)
    with pytest.raises(InvalidInput, match=r"without thaw's metadata; export it with `thaw export RUN`"):
        Predictor.open(path)
    write_metadata(path, {"thaw.labels": ["a"]})
    with pytest.raises(InvalidInput, match=r"metadata must hold thaw\.preprocessing, thaw\.config"):
        Predictor.open(path)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("thaw.labels", ["a", "b"], r"output must be `logits` of shape \(n, 2\) for 2 labels"),
        ("thaw.labels", 3, "metadata cannot be read"),
        ("thaw.preprocessing", {"image_size": 32}, "metadata cannot be read .*`thaw export RUN`"),
        ("thaw.config", None, "metadata cannot be read"),
    ],
)
def test_metadata_that_does_not_fit(small: Small, tmp_path: Path, key: str, value: Any, words: str) -> None:
    path = Path(shutil.copy(small[1].model, tmp_path))
    write_metadata(path, {key: value})
    with pytest.raises(InvalidInput, match=words):
        Predictor.open(path)


def test_preprocessing_of_another_size(small: Small, tmp_path: Path) -> None:
    path = Path(shutil.copy(small[1].model, tmp_path))
    write_metadata(path, {"thaw.preprocessing": {**small[1].preprocessing.to_json(), "image_size": 32}})
    with pytest.raises(InvalidInput, match=r"input must be `images` of shape \(n, 3, 32, 32\).*got .*64"):
        Predictor.open(path)


def test_metadata_that_is_no_json(small: Small, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = onnx.load(small[1].model)
    next(entry for entry in model.metadata_props if entry.key == "thaw.labels").value = "cardboard, glass"
    onnx.save(model, path)
    with pytest.raises(InvalidInput, match=r"thaw\.labels must be JSON, got 'cardboard, glass'"):
        Predictor.open(path)


@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_softmax_is_a_distribution_in_the_order_of_the_logits(logits: np.ndarray) -> None:
    probabilities = softmax(logits)
    assert np.isfinite(probabilities).all()
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    for row, values in zip(probabilities, logits, strict=True):
        assert row[values.argmax()] == row.max()
        assert (np.diff(row[np.argsort(values, kind="stable")]) >= 0).all()


@given(arrays(np.float64, (3, 4), elements=st.floats(-50, 50)), st.floats(-1e3, 1e3))
def test_softmax_ignores_a_shift(logits: np.ndarray, shift: float) -> None:
    np.testing.assert_allclose(softmax(logits + shift), softmax(logits), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(softmax(logits), np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))


ALONE = """
import sys
BLOCKED = {"torch", "torchvision", "timm", "ray", "pandas", "onnx", "onnxscript", "optuna", "accelerate", "sklearn"}
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)
sys.meta_path.insert(0, Blocker())
import json
from pathlib import Path
from trainables.bundle.predict import Predictor
predictor = Predictor.open(Path(sys.argv[1]))
print(json.dumps([p.to_json() for p in predictor.predict_files([Path(sys.argv[2])])]))
assert not BLOCKED & set(sys.modules)
"""


def test_predicts_without_torch(small: Small, predictor: Predictor, folder: Path) -> None:
    command = [sys.executable, "-c", ALONE, str(small[1].model), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    alone = json.loads(done.stdout)
    here = [p.to_json() for p in predictor.predict_files([folder])]
    assert [p["path"] for p in alone] == [p["path"] for p in here]
    assert [p["probability"] for p in alone] == pytest.approx([p["probability"] for p in here])


def _model(folder: Path, like: Path, weights: Any, *, wide: bool = False) -> Path:
    """Write a model with the metadata and the shapes of `like`: the mean color times `weights`."""
    helper, numbers = onnx.helper, onnx.numpy_helper
    cut = helper.make_node("Reshape", ["images", "shape"], ["flat"])
    mean = [
        helper.make_node("GlobalAveragePool", ["images"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
    ]
    nodes = [*([cut] if wide else mean), helper.make_node("MatMul", ["flat", "weights"], ["logits"])]
    original = onnx.load(str(like))
    inits = [numbers.from_array(weights, "weights"), numbers.from_array(np.array([-1, len(weights)]), "shape")]
    graph = helper.make_graph(nodes, "graph", original.graph.input, original.graph.output, inits)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    model.metadata_props.extend(original.metadata_props)
    onnx.save(model, str(folder / "model.onnx"))
    return folder / "model.onnx"


def test_an_error_at_run_time_is_the_model_s(small: Small, folder: Path, tmp_path: Path) -> None:
    weights = np.ones((3, 6), np.float32)
    assert list(Predictor.open(_model(tmp_path, small[1].model, weights)).predict_files([folder]))
    broken = Predictor.open(_model(tmp_path, small[1].model, np.ones((7, 6), np.float32), wide=True))
    with pytest.raises(InvalidInput, match=r"the model must run on 8 images, got: .*Reshape.*; export it anew"):
        list(broken.predict_files([folder]))
    infinite = Predictor.open(_model(tmp_path, small[1].model, weights * np.float32("nan")))
    with pytest.raises(InvalidInput, match=r"logits must be finite, .* got values that are not finite; export it anew"):
        list(infinite.predict_files([folder]))


def test_the_temperature_changes_probabilities_alone(small: Small, photos: Photos, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    shutil.copy(small[1].model, model)
    plain = Predictor.open(model)
    assert plain.temperature == 1
    write_metadata(model, {"thaw.calibration": {"temperature": 2.5}})
    warm = Predictor.open(model)
    batch = warm.preprocess(photos)
    np.testing.assert_array_equal(warm.logits(batch), plain.logits(batch))
    answers = warm.predict_bytes(photos)
    assert [answer.label for answer in answers] == [answer.label for answer in plain.predict_bytes(photos)]
    expected = softmax(plain.logits(batch) / 2.5).max(axis=1)
    assert [answer.probability for answer in answers] == pytest.approx(expected.tolist())


@pytest.mark.parametrize("calibration", [{}, [], {"temperature": 0}, {"temperature": "NaN"}, {"temperature": None}])
def test_a_temperature_that_cannot_be_is_refused(small: Small, tmp_path: Path, calibration: Any) -> None:
    model = tmp_path / "model.onnx"
    shutil.copy(small[1].model, model)
    write_metadata(model, {"thaw.calibration": calibration})
    with pytest.raises(InvalidInput, match="thaw's metadata cannot be read"):
        Predictor.open(model)


def test_an_unsure_answer_says_so(predictor: Predictor, folder: Path) -> None:
    sure = [answer for answer in predictor.predict_each([folder]) if isinstance(answer, Prediction)]
    middle = sorted(answer.probability for answer in sure)[len(sure) // 2]
    answers = [*predictor.predict_each([folder], min_confidence=middle)]
    assert [answer.label for answer in answers if isinstance(answer, Prediction)] == [
        answer.label if answer.probability >= middle else "unsure" for answer in sure
    ]
    assert {answer.label for answer in answers if isinstance(answer, Prediction)} > {"unsure"}
    odd = dataclasses.replace(predictor, labels=("unsure", *predictor.labels[1:]))
    with pytest.raises(InvalidInput, match="no class 'unsure'"):
        next(odd.predict_each([folder], min_confidence=0.5))
