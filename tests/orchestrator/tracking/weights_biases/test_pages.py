"""The pages as the package's own models read them: nothing here reaches a service."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws
from wandb_workspaces.reports.v2.internal import ReportViewspec
from wandb_workspaces.workspaces.internal import View

from analysis.leaderboard import Leaderboard
from analysis.run_folder import RunFolder
from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.sweep_identity import SweepIdentity
from orchestrator.tracking.weights_biases.pages import (
    PageProject,
    build_report,
    build_workspace,
    describe_winner,
    page_title,
    parameter_sets,
)
from trainables.config import Objective
from trainables.result import TrialResult
from trainables.status import Status

Trial = Callable[..., TrialResult]
PROJECT = PageProject("https://wandb.ai", "a team", "thaw")
ODD = "a \"b\" & <c> = 'd' \\ (e) within_last 5 days"


@pytest.fixture(autouse=True)
def _project_is_known() -> Iterator[None]:
    """Answers the package's only request before a page is saved: the id of the project."""
    package = "wandb_workspaces.reports.v2.interface"
    answer = {"project": {"internalId": "cDox"}}
    with mock.patch(f"{package}.execute_graphql", return_value=answer), mock.patch(f"{package}._get_api"):
        yield


def make_summary(trials: list[TrialResult], objective: Objective | None = None, **given: Any) -> SweepSummary:
    board = Leaderboard.from_trials(objective or Objective(), trials)
    sweep = SweepIdentity("digits", "0123456789ab")
    return SweepSummary(**{"sweep": sweep, "run": RunFolder(Path("run")), "leaderboard": board, **given})


@pytest.fixture
def pair(trial: Trial) -> list[TrialResult]:
    return [
        trial("0000", [0.25], Status.COMPLETED, {"lr": 1e-4, "balance": "none", "epochs": 9}),
        trial("0001", [0.5, 0.75], Status.COMPLETED, {"lr": 1e-2, "balance": "loss", "epochs": 9}),
    ]


def saved_view(summary: SweepSummary) -> dict[str, Any]:
    """The workspace as the service gets it, after a round trip through what the package does on load and save."""
    model = build_workspace(summary, PROJECT)._to_model()
    text = model.spec.model_dump_json(by_alias=True, exclude_none=True)
    read = View(**{**model.__dict__, "spec": type(model.spec).model_validate_json(text)})
    assert ws.Workspace._from_model(read)._to_model().spec.model_dump_json(by_alias=True, exclude_none=True) == text
    spec: dict[str, Any] = read.spec.model_dump(mode="json", by_alias=True, exclude_none=True)["section"]
    return spec


def saved_report(summary: SweepSummary) -> dict[str, Any]:
    model = build_report(summary, PROJECT, {})._to_model()
    read = ReportViewspec.model_validate_json(model.model_dump_json(by_alias=True, exclude_none=True))
    again = wr.Report._from_model(read)._to_model()
    # Of an empty list of comments in a heading the package makes none.
    kinds = ("markdown-block", "panel-grid")
    (text, grid), *others = ([each for each in one.spec.blocks if each.type in kinds] for one in (read, again, model))
    assert others == [[text, grid]] * 2
    assert text.content == describe_winner(summary, PROJECT)
    found: dict[str, Any] = grid.metadata.model_dump(mode="json", by_alias=True, exclude_none=True)
    return found


def filters(run_set: dict[str, Any]) -> list[tuple[str, str, str, Any]]:
    found = run_set["filters"]["filters"]
    assert {each.get("connector", "AND") for each in found} == {"AND"}
    return [(each["key"]["section"], each["key"]["name"], each["op"], each["value"]) for each in found]


def panels(section: dict[str, Any]) -> list[tuple[str, Any]]:
    own = {"Parallel Coordinates Plot": "columns", "Parameter Importance": "targetKey", "Markdown Panel": "value"}
    return [(each["viewType"], each["config"][own.get(each["viewType"], "metrics")]) for each in section["panels"]]


def sections(view: dict[str, Any]) -> dict[str, list[tuple[str, Any]]]:
    return {each["name"]: panels(each) for each in view["panelBankConfig"]["sections"]}


SELECTED = [
    ("run", "group", "=", "digits-0123456789ab"),
    ("run", "jobType", "=", "trial"),
    ("run", "tags", "NIN", ["superseded"]),
]
SEARCH = [
    (
        "Parallel Coordinates Plot",
        [
            {"accessor": "config:lr.value", "log": True},
            {"accessor": "config:balance.value", "log": False},
            {"accessor": "summary:val/macro_f1"},
        ],
    ),
    ("Parameter Importance", "val/macro_f1"),
]
CURVES = [("Run History Line Plot", [name]) for name in ("val/macro_f1", "val/loss", "train/loss", "lr/head")]


def test_the_workspace_shows_the_trials_of_the_sweep_best_first(pair: list[TrialResult]) -> None:
    view = saved_view(make_summary(pair))
    (run_set,) = view["runSets"]
    assert filters(run_set) == SELECTED
    assert run_set["sort"]["keys"] == [{"key": {"section": "summary", "name": "val/macro_f1"}, "ascending": False}]
    pinned = ["run:displayName", "tags:__ALL__", "summary:val/macro_f1", "config:lr.value", "config:balance.value"]
    assert run_set["runFeed"]["columnOrder"] == list(run_set["runFeed"]["columnPinned"]) == pinned
    shown = sections(view)
    assert list(shown) == ["Winner", "Search", "Curves"]
    assert (shown["Search"], shown["Curves"]) == (SEARCH, CURVES)
    assert shown["Winner"] == [("Markdown Panel", describe_winner(make_summary(pair), PROJECT))]
    lines = [panel for each in view["panelBankConfig"]["sections"] for panel in each["panels"]][-4:]
    assert {line["config"]["xAxis"] for line in lines} == {"epoch"}


def test_the_report_shows_the_same(pair: list[TrialResult]) -> None:
    grid = saved_report(make_summary(pair))
    (run_set,) = grid["runSets"]
    assert (run_set["project"]["entityName"], run_set["project"]["name"]) == ("a team", "thaw")
    assert filters(run_set) == SELECTED
    assert run_set["sort"]["keys"] == [{"key": {"section": "summary", "name": "val/macro_f1"}, "ascending": False}]
    assert panels(grid["panelBankSectionConfig"]) == [*SEARCH, *CURVES]
    places = [tuple(panel["layout"].values()) for panel in grid["panelBankSectionConfig"]["panels"]]
    assert len(set(places)) == len(places)


def test_a_loss_is_sorted_upwards_and_drawn_once(trial: Trial) -> None:
    objective = Objective(metric="val/loss", mode="min")
    trials = [trial(f"000{number}", [0.5], Status.COMPLETED, objective=objective) for number in range(2)]
    view = saved_view(make_summary(trials, objective))
    assert view["runSets"][0]["sort"]["keys"] == [
        {"key": {"section": "summary", "name": "val/loss"}, "ascending": True}
    ]
    assert [metrics for _, metrics in sections(view)["Curves"]] == [["val/loss"], ["train/loss"], ["lr/head"]]


def test_the_winner_is_described_with_its_parameters_and_links(pair: list[TrialResult]) -> None:
    text = describe_winner(make_summary(pair, test={"macro_f1": 0.5}), PROJECT)
    runs = "https://wandb.ai/a%20team/thaw/runs/0123456789ab"
    assert f"Trial [0001]({runs}-0001): val/macro_f1 0.7500 at epoch 2." in text
    assert "| `lr` | `0.01` |\n| `balance` | `loss` |" in text
    assert "Retrained, on the test split: macro_f1 0.5000." in text
    assert text.endswith(
        "- [All runs of the sweep](https://wandb.ai/a%20team/thaw/groups/digits-0123456789ab)\n"
        f"- [Run of the winner]({runs}-0001)\n- [Summary of the sweep]({runs}-sweep)"
    )


def test_one_trial_has_no_parameter_to_compare(pair: list[TrialResult]) -> None:
    summary = make_summary(pair[:1])
    assert sections(saved_view(summary))["Search"] == []
    assert panels(saved_report(summary)["panelBankSectionConfig"]) == CURVES


@pytest.mark.parametrize("statuses", [[], [Status.FAILED, Status.PRUNED, Status.FAILED]])
def test_a_sweep_without_a_completed_trial_says_so(trial: Trial, statuses: list[Status]) -> None:
    trials = [trial(f"{number:04d}", [0.5], status, {"lr": number + 1}) for number, status in enumerate(statuses)]
    summary = make_summary(trials)
    ((_, text),) = sections(saved_view(summary))["Winner"]
    assert f"No trial is COMPLETED yet: {'2 FAILED, 1 PRUNED' if statuses else 'no trials'}." in text
    assert "Run of the winner" not in text
    saved_report(summary)


@pytest.mark.parametrize("uid", [None, "0123456789ab"])
def test_odd_names_arrive_as_they_are(trial: Trial, uid: str | None) -> None:
    values = ["hf_hub:timm/vit_tiny.augreg|in21k", "a`b"]
    trials = [
        trial(f"{number:04d}", [0.5], Status.COMPLETED, {"architecture": value}) for number, value in enumerate(values)
    ]
    summary = make_summary(trials, sweep=SweepIdentity(ODD, uid))
    for run_set in (*saved_view(summary)["runSets"], *saved_report(summary)["runSets"]):
        assert filters(run_set)[0] == ("run", "group", "=", SweepIdentity(ODD, uid).group)
    text = describe_winner(summary, PROJECT)
    assert "| `architecture` | `hf_hub:timm/vit_tiny.augreg\\|in21k` |" in text
    assert "/groups/a%20%22b%22%20%26%20%3Cc%3E" in text
    assert page_title(summary).startswith("Sweep a-b-c-d-e-within_last-5-days")
    assert len(page_title(make_summary(trials, sweep=SweepIdentity("x" * 500)))) == 128


def test_a_thousand_trials_with_conditions_get_a_plot_per_condition(trial: Trial) -> None:
    kinds: list[dict[str, Any]] = [
        {"strategy": "head"},
        {"strategy": "progressive", "unfreeze_epoch": 3},
        {"strategy": "gradual", "last_stage_epoch": 1, "full_after": 2},
    ]
    trials = [
        trial(f"{number:04d}", [0.5], Status.COMPLETED, {**kinds[number % 3], "lr": 10.0 ** -(number % 5)})
        for number in range(1000)
    ]
    summary = make_summary(trials)
    assert parameter_sets(summary.leaderboard.entries) == [
        ["strategy", "lr"],
        ["strategy", "lr", "unfreeze_epoch"],
        ["strategy", "lr", "last_stage_epoch", "full_after"],
    ]
    found = sections(saved_view(summary))["Search"]
    assert [kind for kind, _ in found] == ["Parallel Coordinates Plot"] * 3 + ["Parameter Importance"]
    assert len(panels(saved_report(summary)["panelBankSectionConfig"])) == 8


def test_the_report_shows_the_figures_of_the_run_with_the_summary(pair: list[TrialResult]) -> None:
    model = build_report(make_summary(pair), PROJECT, {"curves": "Learning curves", "cost": "What it cost"})._to_model()
    read = ReportViewspec.model_validate_json(model.model_dump_json(by_alias=True, exclude_none=True))
    _trials, summary = [block for block in read.spec.blocks if block.type == "panel-grid"]
    found = summary.metadata.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert [filters(run_set) for run_set in found["runSets"]] == [
        [("run", "group", "=", "digits-0123456789ab"), ("run", "jobType", "=", "sweep")]
    ]
    shown = [each["config"] for each in found["panelBankSectionConfig"]["panels"]]
    assert [(config["chartTitle"], config["mediaKeys"]) for config in shown] == [
        ("Learning curves", ["figures/curves"]),
        ("What it cost", ["figures/cost"]),
    ]
