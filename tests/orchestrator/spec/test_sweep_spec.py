from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.spec import sweep_spec
from orchestrator.spec.loading import load
from orchestrator.spec.sections import Asha
from orchestrator.spec.sweep_spec import SweepSpec, untrained_statistics_warning
from search_spaces.errors import InvalidInput
from search_spaces.presets import preset_names, preset_text
from trainables.config import Objective

Small = Callable[..., Path]
SmallSpec = Callable[..., SweepSpec]

POINT = {"strategy": "head", "lr": 0.003}


def test_the_design_s_sweep_file_means_what_it_says(design: Path, tmp_path: Path) -> None:
    spec = load(design)
    assert (spec.name, spec.objective) == ("trash", Objective(metric="val/macro_f1", mode="max"))
    assert (spec.data.root, spec.data.weights_dir) == (tmp_path / "data/trashnet6", tmp_path / "weights")
    assert (spec.data.image_size, spec.data.resize_mode, spec.data.manifest) == (96, "squash", None)
    assert spec.trial["epochs"] == 6
    assert spec.space["lr"][0]["log"] == [1e-3, 3e-2]
    assert list(spec.search_space.dimensions)[:2] == ["architecture", "strategy"]
    assert (spec.search.sampler, spec.search.trials, spec.search.seed) == ("tpe", 24, 0)
    assert spec.stopping is not None
    assert spec.stopping.asha == Asha(grace=2, reduction=3)
    assert (spec.resources.workers, spec.resources.cpus_per_worker, spec.resources.concurrent) == (1, 1, None)
    assert (spec.storage.root, spec.storage.cache_dir, spec.run_root) == (
        tmp_path / "runs",
        None,
        tmp_path / "runs" / "trash",
    )
    assert (spec.tracking.wandb.mode, spec.tracking.wandb.project) == ("auto", "thaw")
    assert spec.first_points() == [
        {"architecture": "mobilenetv2_100", "strategy": "head", "lr": 3e-3, "balance": "none", "scheduler": "cosine"}
    ]


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_and_survives_its_resolved_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.yaml"
    path.write_text(preset_text(name))
    spec = load(path)
    assert spec.name == name
    (tmp_path / "elsewhere").mkdir()
    resolved = tmp_path / "elsewhere" / "sweep.yaml"
    resolved.write_text(spec.to_yaml())
    assert load(resolved) == spec


@pytest.mark.parametrize("stopping", ["none", {"asha": {"grace": 3}}])
@pytest.mark.parametrize("points", ["none", [POINT]])
@pytest.mark.parametrize(("cache_dir", "budget"), [("auto", "auto"), ("cache", "1.5 GiB")])
@pytest.mark.parametrize("limits", [{"gpus_per_worker": 0.5}, {"workers": 2, "epoch_timeout": 90}])
def test_the_resolved_file_reads_back_equal_from_anywhere(
    small: Small, tmp_path: Path, stopping: Any, points: Any, cache_dir: str, budget: str, limits: dict[str, Any]
) -> None:
    spec = load(
        small(
            stopping=stopping,
            search={"points": points, "trials": 3},
            storage={"root": "out", "cache_dir": cache_dir, "cache_budget": budget},
            resources={"concurrent": 2, **limits},
            objective={"metric": "val/loss"},
            trial={"epochs": 6, "architecture": "resnet18", "patience": "none", "weights": "w.safetensors"},
        )
    )
    assert (spec.stopping is None) == (stopping == "none")
    assert spec.storage.cache_budget == (None if budget == "auto" else 1.5 * 2**30)
    folder = tmp_path / "far" / "away"
    folder.mkdir(parents=True)
    (folder / "sweep.yaml").write_text(spec.to_yaml())
    again = load(folder / "sweep.yaml")
    assert again == spec
    assert again.to_yaml() == spec.to_yaml()
    assert again.corner_configs() == spec.corner_configs()


@pytest.mark.parametrize("key", ["epochs", "architecture", "weights"])
def test_a_key_may_move_from_trial_to_space_and_back(small_spec: SmallSpec, key: str) -> None:
    fixed = small_spec()
    trial, space = dict(fixed.trial), dict(fixed.space)
    moved = small_spec(
        trial={k: v for k, v in trial.items() if k != key}, space={**space, key: {"choice": [trial[key]]}}
    )
    assert moved.trial_config({**POINT, key: trial[key]}) == fixed.trial_config(POINT)


def test_the_default_recipe_is_tried_first_where_the_space_contains_it(small_spec: SmallSpec) -> None:
    assert small_spec().first_points() == [{"strategy": "head", "lr": 1e-3}]
    assert small_spec(space={"strategy": {"choice": ["full"]}, "lr": {"log": [1e-5, 1e-2]}}).first_points() == []
    assert small_spec(space={"strategy": {"choice": ["head"]}, "lr": {"log": [1e-2, 1]}}).first_points() == []


def test_points_replace_the_default_recipe_and_never_exceed_the_trials(small_spec: SmallSpec) -> None:
    points = [{"strategy": "head", "lr": lr} for lr in (0.001, 0.002, 0.003)]
    assert small_spec(search={"points": points, "trials": 2}).first_points() == points[:2]


COUNTABLE = {"strategy": {"choice": ["head", "full"]}, "lr": {"choice": [1e-3, 1e-2]}}


def test_a_grid_is_tried_in_order_points_first_and_never_beyond_its_size(small: Small) -> None:
    path = small(space=COUNTABLE)
    grid = [{"strategy": s, "lr": lr} for s in ("head", "full") for lr in (1e-3, 1e-2)]
    assert load(path, ["search.sampler=grid", "search.trials=4"]).first_points() == grid
    assert load(path, ["search.sampler=grid", "search.trials=3"]).first_points() == grid[:3]
    ordered = load(path, ["search.sampler=grid", "search.trials=4", "search.points=[{strategy: full, lr: 1e-2}]"])
    assert ordered.first_points() == [grid[3], *grid[:3]]
    too_many = r"search\.trials: must be at most the 4 points of the grid, got 5; set search\.trials: 4"
    with pytest.raises(InvalidInput, match=too_many):
        load(path, ["search.sampler=grid", "search.trials=5"])


def test_a_run_may_lie_in_a_bucket(small: Callable[..., Path], tmp_path: Path) -> None:
    spec = load(small(name="trash", storage={"root": "s3://bucket/runs/", "keep_best": 3}))
    assert str(spec.run_root) == "s3://bucket/runs/trash"
    (tmp_path / "resolved.yaml").write_text(spec.to_yaml())
    assert load(tmp_path / "resolved.yaml") == spec
    for root, said in (
        (
            "gs://bucket/runs",
            r"storage.root: must be a folder or s3://bucket/prefix, got 'gs://bucket/runs'; other",
        ),
        ("s3://", r"storage.root: a path in a bucket must be s3://bucket/prefix, got 's3://'; a bucket's name is"),
    ):
        with pytest.raises(InvalidInput, match=said):
            load(small(storage={"root": root}))
    with pytest.raises(InvalidInput, match=r"cache_dir: must be a path of this machine, got .s3://bucket.*; only"):
        load(small(storage={"cache_dir": "s3://bucket/cache"}))
    places = {"root": "s3://bucket/photos", "manifest": "s3://bucket/all.csv", "weights_dir": "s3://bucket/weights"}
    in_bucket = load(small(data=places)).data
    assert {key: str(getattr(in_bucket, key)) for key in places} == places
    with pytest.raises(InvalidInput, match=r"storage.root: must lie outside of data.root, all of which is fetched"):
        load(small(data={"root": "s3://bucket"}, storage={"root": "s3://bucket/runs"}))


@pytest.mark.parametrize("setting", ["root", "cache_dir"])
def test_runs_do_not_lie_among_the_classes_of_photos_to_be_divided(
    small: Callable[..., Path], tmp_path: Path, setting: str
) -> None:
    inside = {setting: str(tmp_path / "photos" / "runs")}
    with pytest.raises(InvalidInput, match=rf"storage.{setting}: must lie outside of data.root.*; choose another"):
        load(small(data={"root": str(tmp_path / "photos"), "split": {"val": 0.2}}, storage=inside))
    load(small(data={"root": str(tmp_path / "photos")}, storage=inside))
    load(small(data={"root": str(tmp_path / "photos"), "split": {}}, storage={setting: str(tmp_path / "photos-runs")}))


def test_a_resolved_file_without_words_is_still_read(tmp_path: Path) -> None:
    """Runs made before the words were written have nothing, or null, where a setting is off."""
    old = tmp_path / "sweep.yaml"
    old.write_text(
        "name: old\n"
        "data: {root: /photos, image_size: 224, resize_mode: crop}\n"
        "trial: {epochs: 2, architecture: resnet18, strategy: head}\n"
        "space:\n  lr: {log: [1e-4, 1e-2]}\n"
        "search: {sampler: tpe, trials: 3, seed: 0, probe: false}\n"
        "budget: {}\n"
        "resources: {workers: 1, cpus_per_worker: 1, gpus_per_worker: 0, placement: pack, concurrent: auto, "
        "epoch_timeout: none}\n"
        "storage: {root: /runs, keep_best: none, cache_dir: auto, cache_budget: auto}\n"
        "tracking:\n  notify: {command: null, wandb_alert: false}\n"
        "stopping: none\n"
    )
    spec = load(old)
    assert (spec.search.points, spec.budget.wall_clock, spec.tracking.notify.command) == (None, None, None)
    old.write_text(spec.to_yaml())
    assert load(old) == spec


def test_a_probe_is_refused_for_a_task_without_one(design_spec: SweepSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_spec, "unread_settings", lambda _task: ("head_init",))
    values = design_spec.model_dump()
    values["search"]["probe"] = True
    with pytest.raises(ValueError, match=r"search\.probe: must be false or auto for the task classification"):
        SweepSpec.model_validate(values)


@pytest.mark.parametrize(("preset", "frozen"), [("quickstart", True), ("small-data", True), ("large-data", False)])
def test_kept_statistics_of_untrained_weights_are_warned_of(preset: str, frozen: bool, tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(preset_text(preset))
    assert untrained_statistics_warning(load(path).corner_configs()) is None
    warning = untrained_statistics_warning(load(path, ["trial.weights=none"]).corner_configs())
    assert (warning is not None) == frozen
    assert warning is None or "Set norm_stats: batch, or weights that were trained" in warning


FOLDED = {"strategy": "head", "weights": "w.safetensors", "epochs": 2, "lr": 0.01, "architecture": "resnet18"}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"resources": {"workers": 2}}, "workers: must be 1 beside data.folds"),
        ({"space": {"strategy": {"choice": ["head", "full"]}}}, "strategy must be head"),
        ({"space": {"augmentation": {"choice": ["none", "light"]}}}, "augmentation must be none"),
        ({"space": {"precision": {"choice": ["fp32", "bf16"]}}}, "precision must be fp32"),
    ],
)
def test_folds_are_refused_where_a_point_of_the_space_cannot_have_them(
    small: Small, sections: dict[str, Any], message: str
) -> None:
    trial = {name: value for name, value in FOLDED.items() if name not in sections.get("space", {})}
    space = {"seed": {"choice": [1, 2]}}
    with pytest.raises(InvalidInput, match=message):
        load(small(**{"data": {"root": "photos", "folds": 3}, "trial": trial, "space": space, **sections}))


def test_a_resolved_sweep_of_folds_is_read_back_equal(small: Small, tmp_path: Path) -> None:
    data = {"root": "photos", "folds": 3, "split": {"test": 0.2}}
    spec = load(small(data=data, trial=FOLDED, space={"seed": {"choice": [1, 2]}}))
    again = tmp_path / "again.yaml"
    again.write_text(spec.to_yaml())
    assert load(again) == spec
    with pytest.raises(InvalidInput, match=r"cache_dir: must lie outside of data\.root"):
        load(small(data={"root": "photos", "folds": 3}, trial=FOLDED, storage={"cache_dir": "photos/cache"}))
