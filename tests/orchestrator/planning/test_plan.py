"""`thaw plan` as people run it, on a few digits."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from orchestrator.cli import run as cli
from orchestrator.cluster.machine import Machine, at_once
from orchestrator.planning.calibrate import PhaseProblem
from orchestrator.planning.cost_model import CostModel, PhaseKind
from orchestrator.planning.plan import Plan, PlanRow
from orchestrator.planning.price import read_price
from orchestrator.planning.simulate import exempt_shares, forecast_sweeps, sample_sweeps
from orchestrator.planning.site import Site
from orchestrator.search.rungs import make_rungs
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.terminal.plan_table import plan_report
from orchestrator.terminal.tables import duration, memory_text
from trainables.estimate.phase_cost import PhaseCost
from trainables.model.freeze_plan import freeze_plan

pytestmark = pytest.mark.seconds(25)

Thaw = Callable[..., subprocess.CompletedProcess[str]]
ARCHITECTURES = ["test_efficientnet", "test_resnet"]


@pytest.fixture(scope="module")
def sections() -> dict[str, Any]:
    return {
        "trial": {"epochs": 6},
        "space": {
            "architecture": {"choice": ARCHITECTURES},
            "strategy": {"choice": ["head", "progressive", "full"]},
            "unfreeze_epoch": {"int": [1, 4], "when": {"strategy": "progressive"}},
            "lr": {"log": [1e-3, 1e-2]},
        },
        "search": {"trials": 6, "seed": 3, "probe": True},
        "stopping": {"asha": {"grace": 1, "reduction": 2, "resource": "epochs"}},
        "resources": {"concurrent": 1},
    }


@pytest.fixture(scope="module")
def planned(
    thaw: Thaw, write_sweep: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory, sections: dict[str, Any]
) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("planned")
    file = write_sweep(folder, **sections)
    result = thaw("plan", file, "--price", "$1.20/h", "--nodes", "3", "--format", "json", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert list(folder.iterdir()) == [file], "a plan writes nothing"
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_names_of_fields_are_frozen(planned: dict[str, Any]) -> None:
    assert list(planned) == [
        *("name", "machine", "measured_on", "nodes", "price", "data", "table", "at_once", "probing", "before"),
        *("forecast", "rungs", "exempt", "problems", "warnings"),
    ]
    assert list(planned["machine"]) == ["cores", "memory", "gpus", "gpu", "gpu_memory"]
    assert list(planned["data"]) == ["images", "classes", "decoding"]
    row = planned["table"][0]
    assert list(row) == ["architecture", "strategy", "parameters", "batch_size", "phases", "memory", "fits"]
    assert list(row["phases"][0]) == ["stages", "trainable", "on_features", "features", "step", "epoch"]
    assert list(planned["at_once"]) == ["trials", "by_cores", "by_gpus", "by_memory", "by_setting", "workers"]
    assert list(planned["forecast"]) == ["without_stopping", "with_stopping"]
    for forecast in planned["forecast"].values():
        assert list(forecast) == [
            *("trials", "epochs", "wall_seconds", "wall_low", "wall_high", "device", "device_hours"),
            *("money", "money_low", "money_high"),
        ]
    assert list(planned["rungs"][0]) == ["rung", "reached", "unjudged", "stopped"]
    assert list(planned["exempt"]) == ["epochs", "seconds"]


def test_every_architecture_and_strategy_is_in_the_table(planned: dict[str, Any]) -> None:
    rows = {(row["architecture"], row["strategy"]): row for row in planned["table"]}
    assert set(rows) == {(name, own) for name in ARCHITECTURES for own in ("head", "progressive", "full")}
    for row in rows.values():
        assert [phase["stages"] for phase in row["phases"]] == {
            "head": [0],
            "progressive": [0, "all"],
            "full": ["all"],
        }[row["strategy"]]
        assert row["fits"]
        assert row["memory"] > 100 * 2**20
        assert all(phase["trainable"] <= row["parameters"] for phase in row["phases"])
        for phase in row["phases"]:
            assert phase["on_features"] == (phase["stages"] == 0) == (phase["features"] > 0)
    for name in ARCHITECTURES:
        frozen, thawed = (rows[name, strategy]["phases"][0] for strategy in ("head", "full"))
        assert frozen["step"] < thawed["step"]
        assert frozen["epoch"] < thawed["epoch"]
        assert thawed["trainable"] == rows[name, "full"]["parameters"]


def test_the_forecast_is_sane(planned: dict[str, Any]) -> None:
    complete, stopped = planned["forecast"]["without_stopping"], planned["forecast"]["with_stopping"]
    assert complete["epochs"] == 6 * 6
    assert stopped["epochs"] < complete["epochs"]
    for forecast in (complete, stopped):
        assert planned["before"] < forecast["wall_low"] <= forecast["wall_seconds"] <= forecast["wall_high"]
        assert forecast["device"] == "core"
    assert 0 < planned["exempt"]["seconds"] < 1
    assert 0 < planned["probing"] < planned["before"]
    assert [rung["rung"] for rung in planned["rungs"]] == [1, 2, 4]
    assert (planned["at_once"]["trials"], planned["at_once"]["by_setting"]) == (1, 1)
    assert planned["problems"] == []
    (late,) = planned["warnings"]
    assert late.startswith("trials that thaw for the last time at epoch 4 or later (progressive)")


def test_an_architecture_that_cannot_be_built_is_named_and_the_others_measured(
    write_sweep: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    space = {"architecture": {"choice": ["test_resnet", "resnet_18"]}, "lr": {"log": [1e-3, 1e-2]}}
    sweep = write_sweep(tmp_path, trial={"strategy": "full", "epochs": 2}, space=space)
    assert cli(["plan", str(sweep)]) == 2
    told = capfd.readouterr()
    out = " ".join(told.out.split())
    assert "test_resnet, " in out
    assert "cannot be run: resnet_18, stages all: architecture must be a timm model name" in out
    assert "did you mean resnet18" in out
    assert "no stopping" in out
    assert "Traceback" not in told.err


# ---- on a terminal --------------------------------------------------------------------------------------------------


@pytest.fixture
def made(design_spec: SweepSpec) -> Plan:
    """A plan of the design's sweep with made-up costs: twice as much memory as there is where everything trains."""
    gib = 2**30
    known: dict[str, Any] = {"start": 1.0, "prepare": 1.0, "validation": 0.001, "checkpoint": 0.1, "baseline": gib}
    measured: dict[PhaseKind, PhaseCost] = {}
    for config in design_spec.corner_configs():
        for stages in freeze_plan(config).boundaries.values():
            frozen = stages != "all"
            measured[PhaseKind(config.architecture, stages, frozen)] = PhaseCost(
                config=config,
                stages=stages,
                parameters=123_456_789,
                trainable=7_686 if frozen else 123_456_789,
                features=0.01 if frozen else None,
                image=0.001 if frozen else 0.1,
                memory=2 * gib if frozen else 40 * gib,
                **known,
            )
    costs = CostModel({"train": 12_345, "val": 2_345}, 1, measured, {})
    machine = Machine(cores=16, memory=32 * gib, gpus=0, gpu=None, gpu_memory=0)
    rungs = make_rungs(design_spec.stopping, design_spec.corner_configs())
    sweeps = sample_sweeps(design_spec.problem, design_spec.first_points(), costs, rungs)
    assert rungs is not None
    rows = {
        (config.architecture, config.strategy, *freeze_plan(config).boundaries.values()): config
        for config in design_spec.corner_configs()
    }

    class ImageSample:
        counts = costs.counts

        class arrays:  # noqa: N801
            classes = tuple("abcdef")

    return Plan(
        spec=design_spec,
        site=Site(machine, (machine.node,) * 4, None, read_price("$1.20/h")),
        sample=ImageSample(),  # type: ignore[arg-type]
        rows=tuple(
            PlanRow(
                config.architecture,
                config.strategy,
                tuple(costs.phases(config) or ()),
                memory=max(phase.cost.memory for phase in costs.phases(config) or ()),
                fits=config.strategy in ("head", "partial"),
            )
            for config in rows.values()
        ),
        problems=(
            PhaseProblem("resnet_18", "all", "architecture must be [b]known[/b]; did you mean resnet18?", False),
        ),
        warnings=("16 trials at once may need more memory than there is",),
        at_once=at_once(design_spec.resources, machine, 40 * gib, [machine.node] * 4),
        imports=12.0,
        probing=3.0,
        decoding=30.0,
        full=forecast_sweeps(sweeps, costs, 64, None, machines=4),
        stopped=forecast_sweeps(sweeps, costs, 64, rungs, machines=4),
        exempt=exempt_shares([config for sweep in sweeps for config in sweep], costs, rungs),
    )


@pytest.mark.parametrize("width", [80, 120])
def test_the_report_fits_its_width(made: Plan, width: int) -> None:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(plan_report(made))
    text = capture.get()
    assert max(map(len, text.splitlines())) <= width
    folded = " ".join(text.split())
    for fact in (
        "mobilenetv2_100, 123,456,789 parameters",
        "then all 123,456,789 3.2 s 21 min",
        "12,345 train, 2,345 val images in 6 classes; decoding takes 30 s",
        "4: 4 x 16 CPU and 0 GPU",
        "64 trials (cores let 64, memory 0)",
        "$1.20 per machine-hour, 4 machines from start to end",
        "3.0 s for the linear probes before the first trial",
        "cannot be run: resnet_18, stages all: architecture must be [b]known[/b]; did you mean resnet18?",
        "warning: 16 trials at once may need more memory than there is",
    ):
        assert fact in folded, fact
    assert made.refused


def test_hours_are_of_what_is_scarce(made: Plan) -> None:
    assert made.full is not None
    hours = made.device_hours(made.full)
    assert made.device == "core"
    assert hours == pytest.approx((made.full.busy + 64 * 12) / 3600)


def test_money_is_for_all_machines_and_has_the_interval_of_the_time(planned: dict[str, Any], made: Plan) -> None:
    assert planned["price"] == {"text": "$1.20/h", "per_hour": 1.2, "per": "machine", "devices": 3}
    assert planned["nodes"] == [{"cores": planned["machine"]["cores"], "gpus": 0}] * 3
    for forecast in planned["forecast"].values():
        for money, wall in (("money", "wall_seconds"), ("money_low", "wall_low"), ("money_high", "wall_high")):
            assert forecast[money] == pytest.approx(3 * 1.2 * forecast[wall] / 3600)
    assert made.full is not None
    amount = 4 * 1.2 * (made.before + made.full.seconds) / 3600
    console = Console(width=300, color_system=None)
    with console.capture() as capture:
        console.print(plan_report(made))
    assert f"core-hours, ${amount:,.2f} ($" in capture.get()
    free = replace(made, site=replace(made.site, price=None))
    assert (free.to_json()["price"], free.to_json()["forecast"]["with_stopping"]["money"]) == (None, None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.00012, "0.12 ms"),
        (0.0042, "4.2 ms"),
        (0.042, "42 ms"),
        (0.42, "0.4 s"),
        (9.96, "10 s"),
        (99, "99 s"),
        (100, "1.7 min"),
        (59 * 60, "59 min"),
        (7200, "2.0 h"),
        (100 * 3600, "4.2 days"),
    ],
)
def test_a_time_has_the_unit_that_suits_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_memory_is_in_binary_units() -> None:
    assert memory_text(512 * 2**20) == "512 MiB"
    assert memory_text(3 * 2**29) == "1.5 GiB"
