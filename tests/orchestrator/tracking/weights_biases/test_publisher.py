"""Publication to a W&B server on this machine, by the real client."""

import importlib.util
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_wandb import FakeWandb

from analysis.ledger import Ledger
from analysis.report.panel import Panel, RunData
from analysis.report.panels import panels
from analysis.run_folder import RunFolder
from orchestrator.spec.sections import Wandb
from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.weights_biases import publisher
from orchestrator.tracking.weights_biases.figures import page_panels
from orchestrator.tracking.weights_biases.publisher import PublishedPages, check_publishing, publish_pages
from search_spaces.errors import InvalidInput, ThawError
from trainables.result import TrialResult
from trainables.status import Status


@pytest.fixture(autouse=True)
def _logged_in_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_") and name != "WANDB_SERVICE"]:
        monkeypatch.delenv(name)
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., FakeWandb]]:
    started: list[FakeWandb] = []

    def start(fault: str = "hang", phase: str | None = None) -> FakeWandb:
        fake = FakeWandb(fault, phase).__enter__()
        started.append(fake)
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        return fake

    yield start
    for fake in started:
        fake.__exit__()


@pytest.fixture
def searched(empty_run: RunFolder, trial: Callable[..., TrialResult]) -> RunFolder:
    for number, score in enumerate((0.25, 0.75)):
        Ledger(empty_run).write_trial(trial(f"{number:04d}", [score], Status.COMPLETED, {"lr": 0.1 + number}))
    return empty_run


def test_a_second_call_replaces_the_pages_of_the_first(
    service: Callable[..., FakeWandb], searched: RunFolder, trial: Callable[..., TrialResult]
) -> None:
    fake = service()
    first = publish_pages(searched, Wandb())
    before = {key: view["spec"] for key, view in fake.views.items()}
    assert sorted(view["type"] for view in fake.views.values()) == ["project-view", "runs"]
    Ledger(searched).write_trial(trial("0002", [0.9], Status.COMPLETED, {"lr": 3.0}))
    assert publish_pages(searched, Wandb()) == first
    assert fake.views.keys() == before.keys()
    assert all("small-0002" in view["spec"] and "small-0002" not in before[key] for key, view in fake.views.items())
    assert first == PublishedPages("someone", "thaw", "small", first.workspace, first.report)
    assert first.workspace.startswith(f"{fake.url}/someone/thaw?nw=")
    assert first.report == f"{fake.url}/someone/thaw/reports/Sweep-small--view1"


def test_the_run_with_the_summary_gets_the_figures_and_the_report_shows_them(
    service: Callable[..., FakeWandb], searched: RunFolder
) -> None:
    fake = service()
    publish_pages(searched, Wandb())
    assert fake.runs.keys() == {"small-sweep"}, "no other run is opened"
    (row,) = fake.runs["small-sweep"].rows
    shown = sorted(name for name in row if name.startswith("figures/"))
    assert shown == sorted(f"figures/{panel.name}" for panel in panels(RunData.of(searched)))
    (report,) = [view["spec"] for view in fake.views.values() if view["type"] == "runs"]
    assert [name for name in shown if f'"{name}"' not in report] == []


def test_a_password_in_the_address_of_the_service_is_on_no_page(
    service: Callable[..., FakeWandb], searched: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = service()
    monkeypatch.setenv("WANDB_BASE_URL", fake.url.replace("//", "//user:secret@"))
    pages = publish_pages(searched, Wandb())
    assert "secret" not in f"{pages}{fake.views}{searched.published.read_text()}"


def test_each_project_has_its_own_pages(service: Callable[..., FakeWandb], empty_run: RunFolder) -> None:
    fake = service()
    fake.projects.append("other")
    publish_pages(empty_run, Wandb())
    assert publish_pages(empty_run, Wandb(project="other", entity="team")).entity == "team"
    assert {view["entityName"] + "/" + view["projectName"] for view in fake.views.values()} == {
        "someone/thaw",
        "team/other",
    }
    assert len(fake.views) == 4


def test_pages_that_were_deleted_there_are_saved_anew(service: Callable[..., FakeWandb], empty_run: RunFolder) -> None:
    fake = service()
    publish_pages(empty_run, Wandb())
    del fake.views["view0"]
    fake.views["spare"] = {}
    publish_pages(empty_run, Wandb())
    assert {"view1", "view2"} == fake.views.keys() - {"spare"}


def test_a_project_without_runs_is_refused(service: Callable[..., FakeWandb], searched: RunFolder) -> None:
    fake = service()
    with pytest.raises(InvalidInput, match=r"--project: must be a project of someone .* got none; send them with") as e:
        publish_pages(searched, Wandb(project="none"))
    assert f"thaw wandb sync {searched.root}" in str(e.value)
    assert fake.views == {}


def test_damaged_ids_are_not_overwritten(service: Callable[..., FakeWandb], searched: RunFolder) -> None:
    fake = service()
    (searched.root / "published.json").write_text("[")
    with pytest.raises(InvalidInput, match=r"published\.json: must hold the ids .* delete it"):
        publish_pages(searched, Wandb())
    assert (fake.views, searched.published.read_bytes()) == ({}, b"[")


@pytest.mark.parametrize("fault", ["garbage", "401", "dies"])
def test_a_service_that_fails_costs_one_message(
    service: Callable[..., FakeWandb], searched: RunFolder, fault: str
) -> None:
    fake = service(fault, "init")
    with pytest.raises(ThawError) as raised:
        publish_pages(searched, Wandb())
    assert raised.value.exit_code == 1
    assert str(raised.value).startswith(f"W&B: {fake.url} failed (")
    assert "\n" not in str(raised.value)


def test_a_service_that_fails_between_the_pages_keeps_the_first(
    service: Callable[..., FakeWandb], empty_run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb_workspaces.reports.v2 as wr

    fake = service()
    with monkeypatch.context() as patch:
        patch.setattr(wr.Report, "save", lambda self: fake.views["none"])
        with pytest.raises(ThawError, match=r"try again; if one of the pages is broken, delete .*published\.json"):
            publish_pages(empty_run, Wandb())
    publish_pages(empty_run, Wandb())
    assert fake.views.keys() == {"view0", "view1"}


def test_a_service_that_fails_with_the_figures_saves_no_page(
    service: Callable[..., FakeWandb], searched: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = service("401")

    def failing(summary: SweepSummary) -> list[Panel]:
        fake.fail()
        return page_panels(summary)

    monkeypatch.setattr(publisher, "page_panels", failing)
    with pytest.raises(ThawError) as raised:
        publish_pages(searched, Wandb())
    assert str(raised.value).startswith(f"W&B: {fake.url} failed (")
    assert "\n" not in str(raised.value)
    assert (fake.views, fake.runs) == ({}, {})


def test_publishing_needs_a_mode_a_package_and_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match=r"W&B: needs a key, found none; set WANDB_API_KEY"):
        check_publishing()
    with monkeypatch.context() as patch:
        patch.setenv("WANDB_MODE", "disabled")
        with pytest.raises(InvalidInput, match=r"^\$WANDB_MODE: must not be disabled .*; unset it"):
            check_publishing()
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(InvalidInput, match=r"not installed; install thaw\[wandb\]"):
            check_publishing()


def test_the_addresses_are_printed_as_json() -> None:
    pages = PublishedPages("team", "thaw", "small", "https://a", "https://b")
    assert json.loads(json.dumps(pages.to_json())) == {
        "entity": "team",
        "project": "thaw",
        "group": "small",
        "workspace": "https://a",
        "report": "https://b",
    }
