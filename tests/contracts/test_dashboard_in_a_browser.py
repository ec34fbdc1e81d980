"""The dashboard as a reader has it while a sweep runs: a page that follows the records without a reload."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from browser import chromium, opened
from playwright.sync_api import Browser, Page, expect
from report_runs import SPACE, trial
from run_records import run_record

from analysis.claim import claim_run
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.serve.dashboard_app import Dashboard
from orchestrator.serve.live_list import LiveList
from orchestrator.serve.loopback import listen, server_of
from orchestrator.serve.refresher import Refresher
from trainables.status import Status

PATIENCE = 30_000
"""Milliseconds; how soon the page follows is measured by `benchmarks/report.py dashboard`."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "runs" / "sweep")
    run.trials.mkdir(parents=True)
    Ledger(run).write_run(run_record(space=SPACE, trials_planned=4))
    Ledger(run).write_trial(trial(1))
    assert claim_run(run, None) is not None, "this process is the driver"
    return run


@pytest.fixture
def address(run: RunFolder) -> Iterator[str]:
    refresher, socket = Refresher(), listen(0)
    server: uvicorn.Server = server_of(Dashboard(LiveList(run.root, refresher), refresher, None).app())
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
    thread.start()
    yield f"http://127.0.0.1:{socket.getsockname()[1]}/"
    server.should_exit = True
    thread.join()


def follows(page: Page, name: str, *words: str) -> None:
    """Wait for the row of a trial to hold the words."""
    row = page.locator("article table").first.locator("tbody tr", has=page.locator(f"td:has-text('{name}')"))
    for word in words:
        expect(row).to_contain_text(word, timeout=PATIENCE)


def test_a_trial_appears_grows_and_is_pruned_without_a_reload(browser: Browser, address: str, run: RunFolder) -> None:
    ledger = Ledger(run)
    with opened(browser, address) as seen:
        page = seen.page
        expect(page.locator("body")).to_contain_text("1 of 4 trials done")
        page.locator(".figure").first.scroll_into_view_if_needed()
        expect(page.locator(".figure.done").first).to_be_visible(timeout=20_000)
        page.evaluate("window.isTheSame = true")
        ledger.write_trial(trial(2, Status.RUNNING, epochs=1))
        follows(page, "0002", "RUNNING")
        curves = page.locator(".figure").first
        before = curves.locator(".scatterlayer .trace").count()
        ledger.write_trial(trial(2, Status.RUNNING, epochs=3))
        follows(page, "0002", "0.5")
        expect(curves.locator(".scatterlayer .trace")).not_to_have_count(before, timeout=PATIENCE)
        ledger.write_trial(trial(2, Status.PRUNED, epochs=3))
        follows(page, "0002", "PRUNED")
        expect(page.locator("body")).to_contain_text("2 of 4 trials done", timeout=PATIENCE)
        assert page.evaluate("window.isTheSame"), "the page was not loaded again"
    assert seen.said == []
    assert all(url.startswith((address, "data:", "blob:")) for url in seen.asked)


def test_order_and_filter_outlast_a_change(browser: Browser, address: str, run: RunFolder) -> None:
    ledger = Ledger(run)
    for number in (2, 3):
        ledger.write_trial(trial(number))
    with opened(browser, address) as seen:
        page, rows = seen.page, seen.page.locator("article table").first.locator("tbody tr:visible")
        page.locator("th", has_text="val/macro_f1").first.click()
        expect(rows.first).to_contain_text("0001")
        page.get_by_role("searchbox").fill("progressive")
        expect(rows).to_have_count(2)
        ledger.write_trial(trial(6))
        expect(rows).to_have_count(3, timeout=PATIENCE)
        expect(rows.first).to_contain_text("0002")
        expect(page.get_by_role("searchbox")).to_have_value("progressive")
