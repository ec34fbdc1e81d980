from dataclasses import replace
from datetime import timedelta

import pytest
from report_runs import unpacked

from analysis.comparisons.comparison import compare_trials
from analysis.report.live_page import (
    ListedRun,
    PageLink,
    age_of,
    broken_part,
    comparison_part,
    list_part,
    live_page,
    live_script,
    log_part,
    message_part,
    run_part,
)
from analysis.report.panel import RunData
from analysis.report.panels import panels
from analysis.report.run_summary import RunSummary
from analysis.run_folder import RunFolder

ODD = "<b>x</b> {{ 7 * 7 }}"


@pytest.mark.parametrize(
    ("hours", "text"), [(-1, "0 min"), (0.5, "30 min"), (1.9, "114 min"), (2, "2 h"), (47, "47 h"), (48, "2 d")]
)
def test_an_age_has_its_largest_unit(hours: float, text: str) -> None:
    assert age_of(timedelta(hours=hours)).text == text


def test_a_run_has_its_state_and_the_report(run: RunFolder) -> None:
    data = replace(RunData.of(run), is_driven=True)
    part = run_part(data, panels(data)[:2], "process 7 on <host>")
    assert "26 of 26 trials done" in part
    assert "driven by process 7 on &lt;host&gt;" in part
    assert "Trial 0023:" in part
    assert part.count("<section>") == 2
    assert "The search goes on" in part
    assert "<article>" not in broken_part(ODD)
    assert "&lt;b&gt;x&lt;/b&gt; {{ 7 * 7 }}" in broken_part(ODD)


def test_a_list_has_good_and_bad_runs(run: RunFolder) -> None:
    good = ListedRun("/runs/a/", ODD, RunSummary.of(RunData.of(run)))
    part = list_part(ODD, [good, ListedRun("/runs/b/", "b", None, ODD)])
    assert "2 runs" in part
    assert "0.7944" in part
    assert "<b>" not in part
    assert "No runs yet" in list_part("runs", [])


def test_a_log_is_text() -> None:
    part = log_part(ODD, b"one\r50 %\r\n\x1b[31m\xff<b>", "thaw logs run", is_cut=True)
    assert "one\n50 %\n\ufffd[31m\ufffd&lt;b&gt;" in part
    assert "thaw logs run" in part
    assert "thaw logs run" not in log_part("", b"", "thaw logs run", is_cut=False)


def test_two_trials_side_by_side(run: RunFolder) -> None:
    data = RunData.of(run)
    part = unpacked(comparison_part(ODD, compare_trials(run, data.board, "0000", "0001")))
    assert "Trial 0000 against trial 0001" in part
    assert "<td>architecture</td><td>resnet18</td><td>vgg16</td>" in part
    assert '"name":"trial 0001"' in part
    assert "<b>" not in part


def test_a_page_frames_a_part() -> None:
    page = live_page(ODD, message_part("No", ODD), source="part", tag='"1"', up=PageLink("/", "All runs"))
    assert 'data-source="part" data-tag="&#34;1&#34;"' in page
    assert '<a href="/">All runs</a>' in page
    assert "<b>" not in page
    assert 'type="password"' not in page
    assert 'type="password"' in live_page("run", "", can_control=True)
    assert "data-source" not in live_page("run", "")


def test_one_script_has_the_report_and_what_follows_a_run() -> None:
    script = live_script()
    assert script.index("function enliven(") < script.index("function merge(")
