import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from analysis.run_folder import RunFolder
from orchestrator.spec.loading import load, load_data, load_run, load_trial, resolve
from orchestrator.spec.sweep_spec import SweepSpec
from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig

Small = Callable[..., Path]
SmallSpec = Callable[..., SweepSpec]

POINT = {"strategy": "head", "lr": 0.003}


def refused(path: Path, *overrides: str, name: str | None = None) -> str:
    """The message with which a sweep file is refused; nothing has been written by then."""
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(InvalidInput) as caught:
        load(path, overrides, name)
    assert sorted(path.parent.rglob("*")) == before
    return str(caught.value)


@pytest.mark.parametrize(
    ("override", "section", "value"),
    [
        ("trial.lr=1e-3", "trial", {"lr": 0.001}),
        ("trial.patience=none", "trial", {"patience": "none"}),
        ("space.batch_size={choice: [16, 32]}", "space", {"batch_size": {"choice": [16, 32]}}),
        ("space.lr.log=[1e-5, 1]", "space", {"lr": {"log": [1e-5, 1]}}),
    ],
)
def test_a_value_is_overridden_as_yaml(small: Small, override: str, section: str, value: dict[str, Any]) -> None:
    drop = {"space": None, "trial": {"epochs": 6, "architecture": "a", "strategy": "head"}} if "lr=" in override else {}
    spec = load(small(**drop), [*(["trial.lr=1"] if drop else []), override])
    assert getattr(spec, section).items() >= value.items()


def test_overrides_create_sections_and_the_last_one_wins(small: Small) -> None:
    spec = load(small(), ["tracking.wandb.mode=offline", "search.trials=3", "search.trials=4"], name="other")
    assert (spec.tracking.wandb.mode, spec.search.trials, spec.name) == ("offline", 4, "other")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trials", "--set must be key=value, got 'trials'; for example --set search.trials=12"),
        ("=3", "--set must be key=value, got '=3'"),
        ("search.trials=[1", "--set search.trials: line 1, column 3: must be valid YAML"),
        ("name.first=a", "small.yaml: name: must be a text, got {'first': 'a'}"),
        ("data.root.sub=a", "--set data.root.sub: root must be a section, got 'photos'; set the whole of it"),
        ("search.trials=", "search.trials: must be a whole number, got None"),
    ],
)
def test_an_override_that_cannot_be_used_is_refused(small: Small, override: str, message: str) -> None:
    assert message in refused(small(), override)


def test_relative_paths_are_those_of_the_file_s_folder(small: Small, tmp_path: Path, monkeypatch: Any) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path = small(
        data={"root": "auto", "manifest": "lists/all.csv", "weights_dir": "none"},
        storage={"root": "none", "cache_dir": "~/cache"},
        trial={"epochs": 6, "architecture": "resnet18", "weights": "mine.safetensors"},
    )
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HOME", "/home/ada")
    spec = load(Path("..") / path.name)
    # Words that mean something under another key are ordinary folder names here.
    assert (spec.data.root, spec.data.weights_dir) == (tmp_path / "auto", tmp_path / "none")
    assert (spec.data.manifest, spec.storage.root) == (tmp_path / "lists/all.csv", tmp_path / "none")
    assert spec.storage.cache_dir == Path("/home/ada/cache")
    assert spec.trial["weights"] == str(tmp_path / "mine.safetensors")


def test_weights_are_resolved_wherever_they_stand(small: Small, tmp_path: Path) -> None:
    spec = load(
        small(
            trial={"epochs": 6, "architecture": "resnet18", "strategy": "head"},
            space={
                "weights": {"choice": ["none", "mine.safetensors"]},
                "lr": [
                    {"log": [1e-3, 1e-1], "when": {"weights": "none"}},
                    {"log": [1e-5, 1e-3], "when": {"weights": ["mine.safetensors"]}},
                ],
            },
            search={"points": [{"weights": "mine.safetensors", "lr": 1e-4}]},
        )
    )
    mine = str(tmp_path / "mine.safetensors")
    assert spec.first_points() == [{"weights": mine, "lr": 1e-4}]
    assert {config.weights for config in spec.corner_configs()} == {"none", mine}


def test_an_unknown_home_is_refused(small: Small) -> None:
    message = refused(small(data={"root": "~nobody-of-that-name/photos"}))
    assert "data.root: must be a path, got '~nobody-of-that-name/photos': " in message


@pytest.mark.parametrize("written", ["list", "points.yaml", "points.json"])
def test_points_stand_in_the_file_or_in_one_of_their_own(small: Small, tmp_path: Path, written: str) -> None:
    points = [POINT, {"strategy": "progressive", "unfreeze_epoch": 2, "lr": 1e-3}]
    (tmp_path / "points.yaml").write_text(
        "- {strategy: head, lr: 3e-3}\n- {strategy: progressive, unfreeze_epoch: 2, lr: 1e-3}"
    )
    (tmp_path / "points.json").write_text(json.dumps(points, indent="\t"))
    spec = load(small(search={"trials": 2, "points": points if written == "list" else written}))
    assert spec.first_points() == points


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"serach": {}}, "serach: unknown key; did you mean search or space?"),
        ({"search": {"trails": 3}}, "search.trails: unknown key; did you mean trials?"),
        ({"stopping": {"asha": {"grce": 2}}}, "stopping.asha.grce: unknown key; did you mean grace or resource?"),
        ({"tracking": {"wandb": {"projekt": "a"}}}, "tracking.wandb.projekt: unknown key; did you mean project?"),
        (
            {"search": {"sampler": "tpee"}},
            "search.sampler: must be one of tpe, gp, random, qmc, grid, nsga2, got 'tpee'",
        ),
        ({"search": {"trials": 0}}, "search.trials: must be at least 1, got 0"),
        ({"resources": {"workers": 0}}, "resources.workers: must be at least 1, got 0"),
        (
            {"resources": {"workers": 2, "gpus_per_worker": 0.5}},
            "resources: gpus_per_worker must be 0 or 1 with several workers, got 0.5 with workers: 2",
        ),
        (
            {"resources": {"gpus_per_worker": 2}},
            "resources: gpus_per_worker must be at most 1, got 2: a worker computes on one GPU; set",
        ),
        (
            {"resources": {"workers": 17}},
            "batch_size must give every worker two images, got 32 with resources.workers: 17; set a batch_size of at "
            "least 34, or fewer workers",
        ),
        ({"resources": {"concurrent": 0}}, "resources.concurrent: must be at least 1, or auto, got 0"),
        ({"resources": {"cpus_per_worker": 0}}, "resources.cpus_per_worker: must be above 0, got 0"),
        ({"resources": {"epoch_timeout": 0}}, "resources.epoch_timeout: must be above 0, or none, got 0"),
        ({"resources": {"placement": "strict"}}, "resources.placement: must be one of pack, spread, got 'strict'"),
        ({"name": "a/b"}, "name: must be at most 64 letters, digits, dots, dashes and underscores"),
        ({"name": ""}, "name: must be at most 64 letters, digits, dots, dashes and underscores"),
        ({"name": "../up"}, "name: must be at most 64 letters, digits, dots, dashes and underscores"),
        ({"name": 7}, "name: must be a text, got 7"),
        ({"data": None}, "data: required, but not set; add it"),
        (
            {"data": {"root": "a", "image_size": 8}},
            "data.image_size: must be at least 16, got 8",
        ),
        ({"objective": {"metric": "val/f1"}}, "objective.metric: must be one of val/macro_f1, val/accuracy"),
        (
            {"objective": {"metric": "val/loss", "mode": "max"}},
            "objective: val/loss is better when `min`, got mode=max",
        ),
        ({"objective": "val/loss"}, "objective: must be a section"),
        ({"task": "clasification"}, "task: must be one of classification, got 'clasification'; did you mean classific"),
        ({"trial": {"task": "classification"}}, "trial.task: `task` is a section of its own; move it to the top level"),
        ({"space": {"task": {"choice": ["classification"]}}}, "space.task: `task` is a section of its own; move it to"),
        ({"trial": ["a"]}, "trial: must be a section"),
        ({"space": {3: {"choice": [1]}}}, "3"),
        (
            {"space": {"data": {"choice": ["a"]}}},
            "space.data: `data` is a section of its own; move it to the top level",
        ),
        ({"storage": 3}, "storage: must be a section"),
    ],
)
def test_a_wrong_section_is_refused(small: Small, sections: dict[str, Any], message: str) -> None:
    path = small(**sections)
    told = refused(path)
    assert told.startswith(f"{path}: ")
    assert message in told


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("space.lr.log=[1e-2, 1e-3]", "space.lr: low must be below high, got low=0.01, high=0.001"),
        ("space.lr={lgo: [1, 2]}", "space.lr.lgo: unknown kind of domain; did you mean log or float?"),
        ("space.lr.when={strateggy: head}", "space.lr.when.strateggy: unknown dimension; did you mean strategy?"),
        ("space.lrr={log: [1, 2]}", "space.lrr: unknown key; did you mean lr?"),
        ("trial.batchsize=3", "trial.batchsize: unknown key; did you mean batch_size or"),
        ("trial.strategy=head", "space.strategy: is set under `trial` as well (to 'head'); remove one of the two"),
        ("trial.batch_size=0", "trial.batch_size: must be at least 1, got 0"),
        (
            "trial.optimizer=adamv",
            "trial.optimizer: must be one of adamw, adam, sgd, got 'adamv'; did you mean adam or adamw?",
        ),
        ("space.lr={log: [1, 1000]}", "space.lr: must be at most 100, got 1000.0"),
        ("space.dropout={float: [0, 1]}", "space.dropout: must be below 1, got 1.0"),
        ("space.lr.when={strategy: head}", "space.lr: required, but not set; add it"),
        (
            "space.strategy={choice: [head, full, progressive, partial]}",
            "strategy partial needs `trainable_stages`; set it",
        ),
        (
            "space.unfreeze_epoch={int: [1, 6], when: {strategy: progressive}}",
            "unfreeze_epoch must be below epochs, got unfreeze_epoch=6, epochs=6",
        ),
        ("space.unfreeze_epoch={int: [1, 3]}", "strategy head takes no `unfreeze_epoch`, got 1; remove it"),
        ("trial.epochs=3", "unfreeze_epoch must be below epochs, got unfreeze_epoch=3, epochs=3"),
        ("search.points=[]", "search.points: must hold at least one point, got none; remove the key"),
        ("search.points=[{lr: 1e-3}]", "search.points[0].strategy: required here, but not set"),
        ("search.points=[{strategy: head, lr: 1}]", "search.points[0].lr: must be from 0.0001 .. 0.01 (log), got 1"),
        ("search.points=[{strategy: head, lr: 1e-3, x: 1}]", "search.points[0].x: unknown dimension"),
        ("search.points=3", "search.points: must be a list, or none, got 3"),
        ("search.points=missing.yaml", "missing.yaml: file must exist"),
        ("search.points=small.yaml", "search.points: "),
        ("search.sampler=grid", "space.lr: a grid needs countable values, got 0.0001 .. 0.01 (log); list them"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_place_and_value(small: Small, override: str, message: str) -> None:
    assert message in refused(small(), override)


def test_gradual_must_thaw_everything_before_the_end(design: Path) -> None:
    told = refused(design, "space.full_after={int: [1, 4], when: {strategy: gradual}}")
    assert "last_stage_epoch + full_after must be below epochs, got 2 + 4 = 6, epochs=6; thaw earlier" in told


def test_a_learning_rate_missing_for_one_strategy_is_refused(design: Path) -> None:
    told = refused(
        design, "space.lr={log: [1e-5, 1e-3], when: {strategy: [partial, progressive, full]}}", "search.points=none"
    )
    assert told.endswith("sweep.yaml: space.lr: required, but not set; add it")


def test_a_file_name_that_is_no_run_name_needs_a_name(small: Small) -> None:
    path = small("my sweep.yaml")
    message = refused(path)
    assert f"{path}: name: without one, that of the file names the run, which must be at most 64 letters, " in message
    assert "got 'my sweep'; choose another, e.g. my-sweep: `name` in the file, or --name of `sweep`" in message
    assert load(path, name="mine").name == "mine"


@pytest.mark.parametrize(
    ("given", "folder"),
    [("auto", None), ("boards", "boards"), ("/tmp/boards", "/tmp/boards"), ("~/boards", "~/boards")],
)
def test_the_folder_of_tensorboard_is_relative_to_the_file(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, folder: str | None
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    spec = load(small(tracking={"tensorboard": {"folder": given}}))
    assert spec.tracking.tensorboard is not None
    expected = None if folder is None else tmp_path / folder.replace("~", "/home/ada")
    assert spec.tracking.tensorboard.folder == expected
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "sweep.yaml").write_text(spec.to_yaml())
    assert load(tmp_path / "elsewhere" / "sweep.yaml") == spec


def test_a_trial_file_is_a_trial_with_its_paths_resolved(tmp_path: Path) -> None:
    path = tmp_path / "trial.yaml"
    path.write_text(
        "{data: {root: photos}, architecture: resnet18, strategy: head, epochs: 3, lr: 1e-3, weights: w.st}"
    )
    assert load_trial(path, ["epochs=4"]) == TrialConfig.model_validate(
        {
            "data": {"root": tmp_path / "photos"},
            "architecture": "resnet18",
            "strategy": "head",
            "epochs": 4,
            "lr": 1e-3,
            "weights": str(tmp_path / "w.st"),
        }
    )
    with pytest.raises(InvalidInput, match=r"trial.yaml: epohcs: unknown key; did you mean epochs"):
        load_trial(path, ["epohcs=4"])


def test_a_sweep_that_is_no_file_yet_is_resolved_against_a_folder(tmp_path: Path) -> None:
    raw = {"name": "s", "data": {"root": "photos"}, "trial": {"epochs": 1, "architecture": "resnet18", "lr": 0.1}}
    raw["space"] = {"strategy": {"choice": ["head", "full"]}}
    spec = resolve(raw, tmp_path, "elsewhere")
    assert (spec.data.root, spec.run_root) == (tmp_path / "photos", tmp_path / "runs" / "s")
    with pytest.raises(InvalidInput, match=r"^elsewhere: trial\.epoch: unknown key; did you mean epochs"):
        resolve({**raw, "trial": {"epoch": 1}}, tmp_path, "elsewhere")


def test_a_run_s_sweep_is_read_back_from_its_folder(small_spec: SmallSpec, tmp_path: Path) -> None:
    spec, run = small_spec(), RunFolder(tmp_path / "run")
    with pytest.raises(InvalidInput, match=r"sweep\.yaml"):
        load_run(run)
    run.root.mkdir()
    run.sweep_yaml.write_text(spec.to_yaml())
    assert load_run(run) == spec


def test_a_run_of_before_keeps_the_settings_that_it_began_with(small_spec: SmallSpec, tmp_path: Path) -> None:
    """Its file has every setting of a section, and of a trial those that were given."""
    spec, run = small_spec(), RunFolder(tmp_path / "run")
    run.root.mkdir()
    written = yaml.safe_load(spec.to_yaml())
    written["search"]["probe"] = False
    assert not {"norm_stats", "head_init", "decay_to"} & (written["trial"].keys() | written["space"].keys())
    run.sweep_yaml.write_text(yaml.safe_dump(written))
    again = load_run(run)
    config = again.trial_config(next(again.search_space.draws(0)))
    assert (config.norm_stats, config.head_init, config.decay_to) == ("batch", "random", "zero")
    assert not again.probed


def test_data_and_batches_are_read_from_a_file_that_is_not_complete(small: Small, tmp_path: Path) -> None:
    sweep = small(trial={"batch_size": 8, "seed": 3}, space=None, storage={"cache_dir": "cache"})
    config, storage = load_data(sweep)
    assert (config.batch_size, config.seed, config.data.root) == (8, 3, tmp_path / "photos")
    assert storage.cache_dir == tmp_path / "cache"
    (tmp_path / "trial.yaml").write_text("{data: {root: photos}, batch_size: 8, seed: 3}")
    assert load_data(tmp_path / "trial.yaml")[0] == config
    with pytest.raises(InvalidInput, match=r"trial\.batch_size"):
        load_data(sweep, ["trial.batch_size=0"])


def test_a_batch_gives_every_worker_two_images(small: Small) -> None:
    assert "batch_size must give every worker two images, got 32 with resources.workers: 17" in refused(
        small(resources={"workers": 17})
    )


def test_several_workers_may_have_their_run_in_a_bucket(small: Small) -> None:
    spec = load(small(resources={"workers": 2}, storage={"root": "s3://bucket/runs"}))
    assert (spec.resources.workers, str(spec.storage.root)) == (2, "s3://bucket/runs")


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        ([], True),
        (["trial.channels_last=false"], False),
        (["resources.gpus_per_worker=1"], None),
        (["space.channels_last={choice: [true, false]}"], None),
    ],
)
def test_models_are_laid_out_for_cpus_where_no_gpu_is_used(
    overrides: list[str], found: bool | None, small: Small
) -> None:
    assert load(small(), overrides).trial.get("channels_last") is found


def test_a_run_keeps_the_layout_of_its_own_file(small: Small, tmp_path: Path) -> None:
    spec = load(small())
    run = RunFolder(tmp_path / "run")
    run.sweep_yaml.parent.mkdir(parents=True)
    older = spec.model_dump(mode="json")
    del older["trial"]["channels_last"]
    run.sweep_yaml.write_text(yaml.safe_dump(older))
    assert "channels_last" not in load_run(run).trial
    run.sweep_yaml.write_text(spec.to_yaml())
    assert load_run(run).trial["channels_last"] is True


def test_a_run_keeps_the_division_of_its_own_file(small: Small, tmp_path: Path) -> None:
    """And a file of the user gets that of today, where it says nothing."""
    shares = {"val": 0.2, "seed": 3}
    file = small(data={"root": "photos", "image_size": 32, "split": shares})
    spec = load(file)
    assert (spec.data.split is not None) and spec.data.split.together == "near_duplicates"
    assert "together: near_duplicates" in spec.to_yaml()
    settings, _ = load_data(file)
    assert settings.data.split == spec.data.split
    stated = load(file, ["data.split.together=equal_files"]).data.split
    assert stated is not None and stated.together == "equal_files"
    run = RunFolder(tmp_path / "run")
    run.sweep_yaml.parent.mkdir(parents=True)
    older = spec.model_dump(mode="json")
    older["data"]["split"] = shares
    run.sweep_yaml.write_text(yaml.safe_dump(older))
    assert load_run(run).data.split == stated
    run.run_json.write_text("{}")
    assert load_data(run.sweep_yaml)[0].data.split == stated, "as the run has divided them"


def test_a_trial_that_has_begun_keeps_its_division(tmp_path: Path) -> None:
    file = tmp_path / "trial.yaml"
    trial = {"data": {"root": "photos", "split": {"val": 0.2}}, **POINT, "architecture": "a", "epochs": 1}
    file.write_text(yaml.safe_dump(trial))
    begun = TrialConfig.model_validate(trial)

    def together(config: TrialConfig) -> str:
        assert config.data.split is not None
        return config.data.split.together

    assert together(load_trial(file)) == "near_duplicates"
    assert together(load_trial(file, begun=begun)) == together(begun) == "equal_files"
    assert together(load_trial(file, begun=load_trial(file))) == "near_duplicates"
