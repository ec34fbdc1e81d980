from collections.abc import Callable

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.tracking.sweep_identity import SweepIdentity


def test_two_sweeps_of_one_name_share_neither_ids_nor_a_group() -> None:
    one, other, old = SweepIdentity("digits", "a1"), SweepIdentity("digits", "b2"), SweepIdentity("digits")
    assert (one.group, other.group, old.group) == ("digits-a1", "digits-b2", "digits")
    assert (one.id_of("0007"), other.id_of("0007"), old.id_of("0007")) == ("a1-0007", "b2-0007", "digits-0007")


def test_a_trial_that_was_sent_again_has_a_new_id() -> None:
    sweep = SweepIdentity("digits", "a1", {"0007": 2})
    assert (sweep.id_of("0007"), sweep.id_of("0008")) == ("a1-0007-2", "a1-0008")


def test_the_record_of_a_run_has_it(empty_run: RunFolder, trial: Callable[..., object]) -> None:
    Ledger(empty_run).update_run(uid="c3", attempts={"0001": 3})
    found = SweepIdentity.of(empty_run)
    assert (found.uid, found.id_of("0001")) == ("c3", "c3-0001-3")
