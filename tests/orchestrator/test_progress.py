import io
from collections.abc import Callable

import pytest
from rich.console import Console

from orchestrator.progress import SweepProgress, silent
from trainables.result import Status, TrialResult

Trial = Callable[..., TrialResult]


def progress(trial: Trial, width: int = 120, *, terminal: bool = False) -> SweepProgress:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    return SweepProgress(console, "trash", trial("x").config.objective, planned=4)


def written(view: SweepProgress) -> str:
    assert isinstance(view.console.file, io.StringIO)
    return view.console.file.getvalue()


def rendered(view: SweepProgress) -> str:
    with view.console.capture() as capture:
        view.console.print(view.render())
    return capture.get()


def test_each_finished_trial_is_one_line_and_a_running_one_none(trial: Trial) -> None:
    view = progress(trial, width=60)
    with view:
        view(trial("0000"))
        view(trial("0000", [0.5]))
        view(trial("0000", [0.5, 0.75, 0.7], Status.COMPLETED, {"lr": 0.00123456, "weights": "[b]w[/b] :warning:"}))
        view(trial("0001", [], Status.FAILED, {"lr": 0.1}, failure="NaN in [epoch 2]"))
    assert written(view).splitlines() == [
        "trial 0000  COMPLETED  val/macro_f1 0.7500 at epoch 2 of 3, 4.5 s  lr=0.00123, weights=[b]w[/b] :warning:",
        "trial 0001  FAILED  NaN in [epoch 2]  lr=0.1",
    ]


def test_trials_of_an_earlier_part_are_counted_and_not_announced(trial: Trial) -> None:
    view = progress(trial)
    view.known([trial("0000", [0.5], Status.COMPLETED), trial("0001", [0.4], Status.INTERRUPTED)])
    assert written(view) == ""
    assert rendered(view).startswith("trash: 1 of 4 trials done, 0 running, best val/macro_f1 0.5000")


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_view_fits_its_width_and_shows_names_literally(trial: Trial, width: int) -> None:
    view = progress(trial, width)
    view.known(
        [
            trial("0000", [0.5, 0.6], Status.COMPLETED, {"weights": "[b]best[/b]", "lr": 0.1}),
            trial("0001", [0.25], Status.RUNNING, {"weights": "[b]w[/b]", "lr": 0.2}),
            trial("0002", [], Status.RUNNING, {"weights": "[/]", "lr": 0.3}),
        ]
    )
    text = rendered(view)
    assert max(map(len, text.splitlines())) <= width
    for fact in (
        "1/27",
        "0/27",
        "0.2500",
        "weights=[b]w[/b]",
        "weights=[/]",
        "0.6000",
        "1 of 4 trials done, 2 running",
    ):
        assert fact in " ".join(text.split())


def test_an_empty_sweep_can_be_shown(trial: Trial) -> None:
    assert rendered(progress(trial)).startswith("trash: 0 of 4 trials done, 0 running")


def test_a_terminal_gets_a_live_view_that_leaves_only_the_lines(trial: Trial) -> None:
    view = progress(trial, terminal=True)
    with view:
        assert view.live.is_started
        view(trial("0000", [0.5], Status.COMPLETED))
    assert not view.live.is_started
    assert "trial 0000  COMPLETED" in written(view)


def test_silence_says_nothing(trial: Trial, capsys: pytest.CaptureFixture[str]) -> None:
    silent(trial("0000"))
    assert capsys.readouterr() == ("", "")
