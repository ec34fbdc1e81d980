import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from small_weights import ARCHITECTURE, write_weights

from orchestrator.cluster.machine import Machine
from orchestrator.planning.measured_data import MeasuredData, measure_data, open_images_of
from orchestrator.planning.measured_sweep import measured_sweep
from orchestrator.spec.loading import load, resolve
from orchestrator.spec.named_data import read_named_data
from orchestrator.spec.sweep_spec import SweepSpec
from search_spaces.documents import parse_yaml
from search_spaces.presets import preset_names
from trainables.estimate.recommendation import Advice

MACHINE = Machine(cores=8, memory=16 * 2**30, gpus=0, gpu=None, gpu_memory=0)
GPUS = replace(MACHINE, gpus=2, gpu="H100", gpu_memory=80 * 2**30)


@pytest.fixture(scope="module")
def measured(digits: Path, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> MeasuredData:
    """The digits, with the probe of one architecture."""
    weights = write_weights(tmp_path_factory.mktemp("weights"))
    named = read_named_data(digits, weights_dir=weights)
    return measure_data(open_images_of(named, lambda *_: None), lambda _: None)


def spec_of(text: str) -> SweepSpec:
    assert max(map(len, text.splitlines())) <= 300
    return resolve({"name": "x", **parse_yaml(text, "x.yaml")}, Path("/"), "x.yaml")


def test_the_file_has_what_was_measured(measured: MeasuredData) -> None:
    text = measured_sweep(measured, MACHINE, Path("x.yaml"), is_hub_reachable=False)
    spec, data = spec_of(text), measured.opened.named.data
    assert (spec.data, spec.data.image_size) == (data, 64)
    assert spec.space["architecture"] == {"choice": [ARCHITECTURE]}
    score = measured.probes.scores[0]
    assert f"{ARCHITECTURE} {score.macro_f1:.3f} ({score.interval.low:.3f} to {score.interval.high:.3f})" in text
    assert (spec.resources.cpus_per_worker, spec.resources.gpus_per_worker) == (1, 0)
    assert "8 cores, 16 GiB, no GPU; that makes 8 trials at once" in text
    assert "Preset: small-data, since 367 training images are fewer than 1,000" in text.replace("\n# ", " ")


def test_a_gpu_is_used(measured: MeasuredData) -> None:
    text = measured_sweep(measured, GPUS, Path("x.yaml"), is_hub_reachable=False)
    spec = spec_of(text)
    assert (spec.resources.cpus_per_worker, spec.resources.gpus_per_worker) == (4, 1)
    assert "2 x H100; that makes 2 trials at once" in text


@pytest.mark.parametrize("preset", ["small-data", "medium-data", "large-data", "imbalanced"])
def test_each_preset_that_is_recommended_can_be_written(preset: str, measured: MeasuredData) -> None:
    assert preset in preset_names()
    other = replace(measured, recommendation=replace(measured.recommendation, preset=Advice(preset, "of a reason")))
    for probes in (measured.probes, replace(measured.probes, scores=())):
        text = measured_sweep(replace(other, probes=probes), MACHINE, Path("x.yaml"), is_hub_reachable=True)
        spec = spec_of(text)
        assert spec.trial["weights"] == "pretrained"
        assert f"Preset: {preset}, since of a reason" in text
        assert "resnet50" not in spec.space["architecture"]["choice"], "without a GPU"


def test_without_weights_and_hub_networks_start_from_random_ones(measured: MeasuredData) -> None:
    bare = replace(measured, probes=replace(measured.probes, scores=()))
    text = measured_sweep(bare, MACHINE, Path("x.yaml"), is_hub_reachable=False)
    spec = spec_of(text)
    assert spec.trial["weights"] == "none"
    assert spec.data.root == measured.opened.named.data.root
    assert "no weights are on this machine, and timm's hub does not answer" in text.replace("\n# ", " ")


@pytest.mark.parametrize("preset", ["small-data", "medium-data", "large-data", "imbalanced", "demo"])
def test_the_first_try_can_be_run_with_each_preset(preset: str, measured: MeasuredData, tmp_path: Path) -> None:
    advice = replace(measured.recommendation, preset=Advice(preset, "of a reason"))
    probes = replace(measured.probes, scores=()) if preset == "demo" else measured.probes
    found = replace(measured, recommendation=advice, probes=probes)
    file = tmp_path / "x.yaml"
    file.write_text(measured_sweep(found, MACHINE, file, is_hub_reachable=False))
    (line,) = [line for line in file.read_text().splitlines() if "--name try" in line]
    _, *words = shlex.split(line)
    assert words[:5] == ["thaw", "sweep", str(file), "--name", "try"]
    spec = load(file, words[6::2])
    assert [(each.epochs, each.strategy) for each in spec.corner_configs()] == [(1, "head")] * len(
        spec.corner_configs()
    )
    assert spec.search.trials == 2


@pytest.mark.parametrize("name", ["a: b", "it's #1", "Größe", "two\nlines", "-", "{x}"])
def test_any_name_of_a_folder_can_be_written(name: str, measured: MeasuredData) -> None:
    opened = measured.opened
    root = Path("/photos") / name
    named = replace(opened.named, data=opened.named.data.model_copy(update={"root": root, "weights_dir": None}))
    bad = {str(root / "1.jpg"): "no image"}
    other = replace(measured, opened=replace(opened, named=named, bad_images=bad))
    assert spec_of(measured_sweep(other, MACHINE, Path("x.yaml"), is_hub_reachable=False)).data.root == root
