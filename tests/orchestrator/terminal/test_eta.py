from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.terminal.eta import EtaEstimator
from orchestrator.tracking.observer import SweepStart
from trainables.config import Objective
from trainables.result import TrialResult
from trainables.status import Status

Trial = Callable[..., TrialResult]


class Clock:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def resumed(planned: int, known: list[TrialResult], clock: Clock) -> EtaEstimator:
    eta = EtaEstimator(planned, clock)
    eta.on_start(SweepStart("small", Path("runs/small"), Objective(), planned, tuple(known)))
    return eta


def test_before_a_trial_has_ended_nothing_is_known(trial: Trial) -> None:
    clock = Clock()
    eta = EtaEstimator(4, clock=clock)
    clock.now += 7
    eta.on_trial(trial("0000", [0.5]))
    assert eta.elapsed == 7
    assert eta.remaining() is None


def test_waiting_trials_take_what_others_took_and_running_ones_go_on_at_their_pace(trial: Trial) -> None:
    """Each epoch of a made trial says that it took 1.5 s; 27 are planned."""
    clock = Clock()
    eta = EtaEstimator(6, clock=clock)
    for name in ("0000", "0001"):
        eta.on_trial(trial(name))
    clock.now += 10
    eta.on_trial(trial("0000", [0.5] * 3, Status.PRUNED))
    eta.on_trial(trial("0001", [0.5] * 7))
    eta.on_trial(trial("0002"))
    # 0001: 20 epochs of 1.5 s; 0002: 10 s, as 0000 took; three wait, of 10 s each; two run at once.
    assert eta.remaining() == pytest.approx((30 + 10 + 3 * 10) / 2)
    clock.now += 4
    assert eta.remaining() == pytest.approx((26 + 6 + 3 * 10) / 2)
    clock.now += 1000
    assert eta.remaining() == pytest.approx(3 * 10 / 2)


def test_a_slow_last_trial_decides(trial: Trial) -> None:
    clock = Clock()
    eta = resumed(2, [trial("0000", [0.5] * 2, Status.COMPLETED)], clock)
    eta.on_trial(trial("0001", [0.5] * 2))
    assert eta.remaining() == pytest.approx(25 * 1.5)


def test_a_resumed_run_knows_what_its_trials_took(trial: Trial) -> None:
    known = [trial("0000", [0.5] * 4, Status.COMPLETED), trial("0001", [0.5] * 2, Status.INTERRUPTED)]
    eta = resumed(5, known, Clock())
    # Nothing runs yet, and one after another is what can be said: four trials of 4 x 1.5 s.
    assert eta.remaining() == pytest.approx(4 * 6)
    eta.on_trial(trial("0001", [0.5] * 2))
    assert eta.remaining() == pytest.approx(25 * 1.5 + 3 * 6)


def test_a_finished_sweep_has_nothing_to_go(trial: Trial) -> None:
    eta = EtaEstimator(1, clock=Clock())
    eta.on_trial(trial("0000"))
    eta.on_trial(trial("0000", [0.5], Status.COMPLETED))
    assert eta.remaining() == 0
