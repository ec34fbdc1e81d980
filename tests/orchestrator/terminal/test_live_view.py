import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.terminal.live_view import LiveView
from orchestrator.tracking.observer import SweepStart, TrackerProblem
from trainables.result import TrialResult
from trainables.status import Status

Trial = Callable[..., TrialResult]
View = Callable[..., LiveView]


@pytest.fixture
def progress(small_spec: Callable[..., SweepSpec]) -> View:
    """Makes a view of a sweep of four trials of 27 epochs, `known` of them from an earlier part of the run."""

    def make(
        width: int = 120, height: int = 40, *, terminal: bool = False, known: Sequence[TrialResult] = ()
    ) -> LiveView:
        console = Console(file=io.StringIO(), width=width, height=height, force_terminal=terminal, color_system=None)
        spec = small_spec(
            name="trash",
            trial={"architecture": "resnet18", "weights": "none", "epochs": 27},
            search={"trials": 4},
            stopping={"asha": {"grace": 1, "reduction": 3, "resource": "epochs"}},
            resources={"cpus_per_worker": 2},
        )
        view = LiveView(console, spec)
        view.on_start(SweepStart(spec.name, Path("runs/trash"), spec.objective, 4, tuple(known)))
        return view

    return make


def written(view: LiveView) -> str:
    assert isinstance(view.console.file, io.StringIO)
    return view.console.file.getvalue()


def rendered(view: LiveView) -> str:
    with view.console.capture() as capture:
        view.console.print(view.render())
    return capture.get()


def test_each_finished_trial_is_one_line_and_a_running_one_none(progress: View, trial: Trial) -> None:
    view = progress(width=60)
    with view:
        view.on_trial(trial("0000"))
        view.on_trial(trial("0000", [0.5]))
        view.on_trial(
            trial("0000", [0.5, 0.75, 0.7], Status.COMPLETED, {"lr": 0.00123456, "weights": "[b]w[/b] :warning:"})
        )
        view.on_trial(trial("0001", [], Status.FAILED, {"lr": 0.1}, failure="NaN in [epoch 2]"))
    assert written(view).splitlines() == [
        "trial 0000  COMPLETED  val/macro_f1 0.7500 at epoch 2 of 3, 4.5 s  lr=0.00123, weights=[b]w[/b] :warning:",
        "trial 0001  FAILED  NaN in [epoch 2]  lr=0.1",
    ]


def test_a_person_who_has_stopped_it_sees_what_it_waits_for(progress: View, trial: Trial) -> None:
    view = progress(width=60)
    with view:
        view.on_trial(trial("0000", [0.5]))
        assert "ending" not in rendered(view)
        view.on_closing("asked to stop")
    assert written(view) == "asked to stop: what runs ends its epoch first\n"
    assert re.search(r"trash .* 0 of 4 trials, 0 s, ending", rendered(view))


def test_a_problem_of_a_tracker_is_one_line(progress: View) -> None:
    view = progress(width=60)
    with view:
        view.on_problem(TrackerProblem("W&B", "W&B: [b] does not answer; " + "it is offline from now on, " * 3))
    assert written(view).count("\n") == 1
    assert written(view).startswith("warning: W&B: [b] does not answer; it is")


def test_trials_of_an_earlier_part_are_shown_and_not_announced(progress: View, trial: Trial) -> None:
    view = progress(known=[trial("0000", [0.5], Status.COMPLETED), trial("0001", [0.4], Status.INTERRUPTED)])
    assert written(view) == ""
    text = rendered(view)
    assert "1 of 4 trials" in text
    assert "0 running; best val/macro_f1 0.5000 (trial 0000, epoch 1)" in text
    assert "rung 1: 2 judged" in text


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_view_fits_its_width_and_shows_names_literally(progress: View, trial: Trial, width: int) -> None:
    view = progress(
        width,
        known=[
            trial("0000", [0.5, 0.6], Status.COMPLETED, {"weights": "[b]best[/b]", "lr": 0.1}),
            trial("0001", [0.25], Status.RUNNING, {"weights": "[b]w[/b]", "lr": 0.2}),
            trial("0002", [], Status.RUNNING, {"weights": "[/]", "lr": 0.3}),
        ],
    )
    text = rendered(view)
    assert max(map(len, text.splitlines())) <= width
    for fact in ("1/27", "0/27", "0.2500", "weights=[b]w[/b]", "weights=[/]", "0.6000", "1 of 4 trials", "2 running"):
        assert fact in " ".join(text.split())


def test_long_parameters_never_push_out_the_epochs(progress: View, trial: Trial) -> None:
    view = progress(80)
    long = {"architecture": "vit_small_patch16_224.augreg_in21k", "strategy": "full", "lr": 0.1, "balance": "sampler"}
    view.on_trial(trial("0000", [0.25], parameters={**long, "scheduler": "one_cycle"}))
    (line,) = [line for line in rendered(view).splitlines() if line.startswith("0000")]
    assert line.split()[1:3] == ["1/27", "0.2500"]
    assert "vit_small_patch16_224.augreg_in21k, full, lr" in line


def test_rungs_tell_who_was_judged_stopped_and_exempt(progress: View, trial: Trial) -> None:
    view = progress()
    view.on_trial(trial("0000", [0.5]))
    view.on_trial(trial("0001", [0.6]))
    view.on_trial(trial("0002", [0.1], Status.PRUNED))
    view.on_trial(trial("0003", [0.2], strategy="progressive", unfreeze_epoch=2))
    assert "rung 1: 3 judged, 1 stopped, 1 exempt   rung 3: 0 judged   rung 9: 0 judged" in rendered(view)


def test_what_is_in_use_and_how_long_it_will_take(progress: View, trial: Trial) -> None:
    view = progress()
    view.on_trial(trial("0000"))
    view.on_trial(trial("0001"))
    assert "to go" not in rendered(view)
    view.size = {"CPU": 8.0, "GPU": 1.0}
    assert "2 running, 4 of 8 cores, workers are starting" in rendered(view)
    view.on_trial(trial("0001", [0.5], Status.COMPLETED))
    assert "to go" in rendered(view)


def test_a_sweep_with_many_trials_at_once_stays_on_the_screen(progress: View, trial: Trial) -> None:
    view = progress(80, 24)
    for number in range(50):
        view.on_trial(
            trial(f"{number:04d}", [0.5], Status.COMPLETED if number < 10 else Status.RUNNING, {"lr": number / 100})
        )
    lines = rendered(view).splitlines()
    assert len(lines) <= 24
    assert any(line.startswith("and 3") and line.rstrip().endswith("more") for line in lines)
    assert sum("COMPLETED" in line for line in lines) == 5


def test_an_empty_sweep_can_be_shown(progress: View) -> None:
    assert "0 of 4 trials" in rendered(progress())
    assert "starting Ray" in rendered(progress())


def test_a_terminal_gets_a_live_view_that_leaves_only_the_lines(progress: View, trial: Trial) -> None:
    view = progress(terminal=True)
    with view:
        assert view.live.is_started
        view.on_trial(trial("0000", [0.5], Status.COMPLETED))
    assert not view.live.is_started
    assert "trial 0000  COMPLETED" in written(view)
