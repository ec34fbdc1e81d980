"""A dashboard over HTTP: what it shows, what it follows, and what it refuses."""

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from report_runs import HOSTILE, predicted, trial

from analysis.claim import Claim, claim_run
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from trainables.status import Status
from trainables.storage.place import as_place

TOKEN = "a-token-of-the-tests"
Open = Callable[..., Any]


def ledger_of(run: Path) -> Ledger:
    return Ledger(RunFolder(run))


def test_runs_are_listed_and_lead_to_their_pages(runs: Path, new_run: Open, open_dashboard: Open) -> None:
    new_run(runs / "second", 2, created="2026-02-01T00:00:00Z")
    (runs / "no run").mkdir()
    browser = open_dashboard(runs)
    page = browser.ask("/").text
    assert page.index('<a href="/runs/second/">') < page.index('<a href="/runs/first/">'), "the newest first"
    assert "no run" not in page
    assert "4 of 4" in page
    assert "done" in page
    run = browser.ask("/runs/first/").text
    assert "Trial 0003:" in run
    assert run.count("<section>") >= 5
    assert "Stop the sweep" not in run


def test_one_run_alone_needs_no_list(runs: Path, open_dashboard: Open) -> None:
    browser = open_dashboard(runs / "first")
    assert "Trial 0003:" in browser.ask("/").text
    assert "All runs" not in browser.ask("/").text
    assert browser.ask("/runs/second/").status == 404


def test_a_page_follows_its_run(runs: Path, open_dashboard: Open) -> None:
    browser, ledger = open_dashboard(runs), ledger_of(runs / "first")
    claim = claim_run(ledger.run, None)
    assert claim is not None
    before = browser.wait_for("/runs/first/part", "running", "driven by process")
    assert browser.ask("/runs/first/part", If_None_Match=before.headers["etag"]).status == 304
    ledger.write_trial(trial(4, Status.RUNNING, epochs=1))
    browser.wait_for("/runs/first/part", "<td>0004</td><td>RUNNING</td>", "The search goes on")
    ledger.write_trial(trial(4, Status.RUNNING, epochs=3))
    grown = browser.wait_for("/runs/first/part", "trial 0004 (RUNNING)").text
    assert grown.index("<h2>Learning curves") < grown.index("trial 0004 (RUNNING)")
    ledger.write_trial(trial(4, Status.PRUNED, epochs=3))
    browser.wait_for("/runs/first/part", "<td>0004</td><td>PRUNED</td>")
    claim.end()
    browser.wait_for("/runs/first/part", 'data-course="DONE"')


def test_the_list_follows_too(runs: Path, new_run: Open, open_dashboard: Open) -> None:
    browser = open_dashboard(runs)
    assert "second" not in browser.ask("/").text
    new_run(runs / "second", 1)
    browser.wait_for("/part", "/runs/second/", "1 of 1")
    shutil.rmtree(runs / "first")
    deadline = time.monotonic() + 60
    while "/runs/first/" in browser.ask("/part").text:
        assert time.monotonic() < deadline
        time.sleep(0.3)


def test_broken_runs_are_text(runs: Path, new_run: Open, open_dashboard: Open) -> None:
    for name in ("half", "gone"):
        new_run(runs / name, 2)
    (runs / "half" / "run.json").write_text('{"name": "ha')
    browser = open_dashboard(runs)
    assert "a record must be JSON" in browser.ask("/").text
    assert "a record must be JSON" in browser.ask("/runs/half/").text
    assert " leads: " in browser.ask("/runs/gone/").text
    (runs / "gone" / "trials" / "0000.json").write_text("")
    browser.wait_for("/runs/gone/part", "0000.json: a record must be JSON", "Trial 0001:")
    shutil.rmtree(runs / "gone")
    browser.wait_for("/runs/gone/part", "a run must be an existing folder, got none")
    assert browser.ask("/runs/never/").status == 404
    assert "There is no run never" in browser.ask("/runs/never/").text


def test_names_are_text(runs: Path, new_run: Open, open_dashboard: Open) -> None:
    folder = runs / "<b>{{ 7*7 }}' \udcff#%2F"
    ledger = new_run(folder, 0, name=HOSTILE)
    for number in range(2):
        given = trial(number)
        parameters = {**given.parameters, HOSTILE: HOSTILE if number else "</script>"}
        ledger.write_trial(given.model_copy(update={"parameters": parameters}))
    browser = open_dashboard(runs)
    listed = browser.ask("/").text
    assert "&lt;b&gt;{{ 7*7 }}&#39; \\udcff#%2F" in listed
    address = listed.partition('<a href="/runs/~')[2].partition('"')[0]
    page = browser.ask(f"/runs/~{address}").text
    assert "Trial 0001:" in page
    comparison = browser.ask(f"/runs/~{address}compare/0000/0001").text
    for text in (listed, page, comparison):
        assert "<b>" not in text
        assert "alert(1)</script>" not in text
    assert browser.ask("/runs/..%2F..%2Fetc/").status == 404


def test_two_trials_are_compared(runs: Path, open_dashboard: Open) -> None:
    for name in ("0000", "0001"):
        predicted(RunFolder(runs / "first"), name)
    browser = open_dashboard(runs)
    page = browser.ask("/runs/first/compare/0000/0001").text
    assert "0000 and 0001 cannot be told apart" in page
    assert "<td>architecture</td><td>resnet18</td><td>vgg16</td>" in page
    assert browser.ask("/runs/first/compare/0000/0000").status == 404
    assert (
        "a trial must be one of the run&#39;s, got &#39;0009&#39;" in browser.ask("/runs/first/compare/0000/0009").text
    )


def test_runs_are_compared(runs: Path, new_run: Open, open_dashboard: Open) -> None:
    new_run(runs / "second", 2)
    browser = open_dashboard(runs)
    assert '<a href="/compare">' in browser.wait_for("/", "second").text
    page = browser.ask("/compare")
    assert (page.status, "The best trial is" in page.text) == (200, True)
    assert "What each search had found" in page.text


def test_a_log_is_followed(runs: Path, open_dashboard: Open) -> None:
    browser = open_dashboard(runs)
    assert "No lines yet" in browser.ask("/runs/first/trials/0000").text
    log = RunFolder(runs / "first").log("0000")
    log.parent.mkdir()
    log.write_bytes(b"epoch 1 <b>\x07\xff\n")
    part = browser.wait_for("/runs/first/trials/0000/part", "epoch 1 &lt;b&gt;\ufffd\ufffd")
    assert browser.ask("/runs/first/trials/0000/part", If_None_Match=part.headers["etag"]).status == 304
    assert browser.ask("/runs/first/trials/.hidden").status == 404


def test_only_this_machine_asks_and_only_this_page_runs_scripts(runs: Path, open_dashboard: Open) -> None:
    browser = open_dashboard(runs)
    assert browser.ask("/", Host="rebound.example").status == 400
    assert browser.ask("/", Host="localhost:1").status == 200
    policy = browser.ask("/").headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "connect-src 'self';" in policy
    assert "setTimeout(step, 1000)" in browser.ask("/live.js").text


def test_without_a_token_nothing_can_be_changed(runs: Path, open_dashboard: Open) -> None:
    browser = open_dashboard(runs)
    assert browser.ask("/runs/first/stop", "POST", X_Thaw_Token=TOKEN).status == 404
    assert browser.ask("/runs/first/resume", "POST").status == 404
    assert "password" not in browser.ask("/runs/first/").text


def obey(claim: Claim) -> None:
    """Do what a driver does when it is asked to stop."""
    while not claim.run.stop_request.exists():
        time.sleep(0.05)
    claim.end()


def test_a_run_is_stopped_with_the_token_alone(runs: Path, open_dashboard: Open) -> None:
    browser, run = open_dashboard(runs, TOKEN), RunFolder(runs / "first")
    assert "password" in browser.ask("/runs/first/").text
    claim = claim_run(run, None)
    assert claim is not None
    for headers, status in (({}, 401), ({"X_Thaw_Token": TOKEN + "x"}, 401), ({"X_Thaw_Token": "\xe9"}, 401)):
        assert browser.ask("/runs/first/stop", "POST", **headers).status == status
    foreign = browser.ask("/runs/first/stop", "POST", X_Thaw_Token=TOKEN, Origin="http://evil.example")
    assert foreign.status == 403
    assert browser.ask(f"/runs/first/stop?token={TOKEN}").status == 404
    assert not run.stop_request.exists()
    driver = threading.Thread(target=obey, args=(claim,))
    driver.start()
    answer = browser.ask("/runs/first/stop", "POST", X_Thaw_Token=TOKEN, Origin=browser.address)
    driver.join()
    assert (answer.status, answer.text) == (200, f"Stopped; continue with: thaw resume {runs / 'first'}")
    again = browser.ask("/runs/first/stop", "POST", X_Thaw_Token=TOKEN)
    assert again.status == 409
    assert "must be running to be stopped" in again.text


def test_a_bucket_is_followed(bucket: str, new_run: Open, open_dashboard: Open) -> None:
    ledger = new_run(as_place(f"{bucket}/runs/first"), 1)
    browser = open_dashboard(as_place(f"{bucket}/runs"))
    assert "1 of 1" in browser.ask("/").text
    assert "Trial 0000:" in browser.ask("/runs/first/").text
    ledger.write_trial(trial(1, Status.FAILED, epochs=0))
    browser.wait_for("/runs/first/part", "<td>0001</td><td>FAILED</td>")
    assert "No lines yet" in browser.ask("/runs/first/trials/0000").text


@pytest.mark.parametrize("path", ["/runs/first/part", "/part"])
def test_ten_pages_share_one_reading(runs: Path, open_dashboard: Open, path: str) -> None:
    browser = open_dashboard(runs)
    tags = {browser.ask(path).headers["etag"] for _ in range(10)}
    assert len(tags) == 1
