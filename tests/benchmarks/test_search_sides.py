"""The searchers as the simulator drives them, on the real space with scores made by hand."""

from collections.abc import Iterator

import optuna
import pytest
from optuna.trial import TrialState
from replay import Event, Row, Side, Table, replay
from scipy.stats import spearmanr
from search_quality import OURS, SIDES, STOCK
from search_sides import Stock, one_name, ours, untold
from search_space import LATE, TABLE, sweep

from orchestrator.search.optuna_space import distributions
from orchestrator.spec.sweep_spec import SweepSpec
from trainables.model.freeze_plan import freeze_plan


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield


@pytest.fixture(scope="module")
def spec() -> SweepSpec:
    return sweep({"root": "photos"}, search={"trials": 30, "seed": 3})


@pytest.fixture(scope="module")
def table() -> Table:
    """Who thaws late is poor while frozen, and best in the end; everybody's last epoch is a little off his best."""
    gridded = sweep({"root": "photos"}, gridded=True)
    rows = []
    for point in gridded.search_space.grid():
        config = gridded.trial_config(point)
        boundary = freeze_plan(config).last_boundary
        end = 0.5 + 0.05 * boundary + 0.01 * config.lr**0.5
        scores = [0.1 if epoch < boundary else end - 0.02 * (epoch == 8) for epoch in range(9)]
        flops = [0.5 if epoch < boundary else 1.0 for epoch in range(9)]
        rows.append(Row(point, tuple(scores), tuple(flops), boundary))
    return Table(rows)


def run(table: Table, side: Side) -> list[Event]:
    return list(replay(table, side, workers=3, budget=1e9, trials=30))


def test_ours_is_told_the_truth(spec: SweepSpec, table: Table) -> None:
    side = ours(spec, table)
    ended = {event.key: event for event in run(table, side) if not event.goes_on}
    states = {str(trial.number): trial for trial in side.study.trials}
    assert len(ended) == 30 and {trial.state for trial in states.values()} == {TrialState.COMPLETE, TrialState.PRUNED}
    for key, event in ended.items():
        complete = event.epoch == 9
        assert states[key].state is (TrialState.COMPLETE if complete else TrialState.PRUNED)
        if complete:
            assert states[key].value == max(event.row.scores)
        assert list(states[key].intermediate_values.values()) == list(event.row.scores[: event.epoch])


def test_without_truth_a_stopped_trial_is_complete_with_what_it_had_reached(spec: SweepSpec, table: Table) -> None:
    with untold():
        side = ours(spec, table)
        ended = {event.key: event for event in run(table, side) if not event.goes_on}
    assert min(event.epoch for event in ended.values()) < 9
    for trial in side.study.trials:
        event = ended[str(trial.number)]
        assert (trial.state, trial.value) == (TrialState.COMPLETE, max(event.row.scores[: event.epoch]))


def test_stock_tells_the_last_value_of_whatever_ended(spec: SweepSpec, table: Table) -> None:
    side = Stock(spec, seed=3)
    ended = {event.key: event for event in run(table, side) if not event.goes_on}
    assert min(event.epoch for event in ended.values()) < 9
    for trial in side.searcher._ot_study.trials:
        event = ended[str(trial.number)]
        assert (trial.state, trial.value) == (TrialState.COMPLETE, event.row.scores[event.epoch - 1])


def test_only_ours_lets_a_late_thaw_live(spec: SweepSpec, table: Table) -> None:
    def late_ends(side: Side) -> set[int]:
        return {event.epoch for event in run(table, side) if not event.goes_on and event.row.boundary >= LATE}

    assert late_ends(ours(spec, table)) == {9}
    assert min(late_ends(SIDES["ours without exemption"](spec, table, 3))) <= 3
    assert min(late_ends(Stock(spec, seed=3))) <= 3


def test_in_the_real_table_a_frozen_score_says_nothing_of_the_thawed_one() -> None:
    late = [row for row in Table.read(TABLE).rows if row.boundary]
    frozen = [max(row.scores[: row.boundary]) for row in late]
    thawed = [max(row.scores[row.boundary :]) for row in late]
    assert len(late) == 96
    assert abs(spearmanr(frozen, thawed).statistic) < 0.1, "what the exemption rests upon"


def test_with_one_name_the_ranges_share_it(spec: SweepSpec) -> None:
    rates = {name for name in distributions(spec.search_space) if name.startswith("lr")}
    assert len(rates) == 3
    assert {name for name in distributions(one_name(spec).search_space) if name.startswith("lr")} == {"lr"}


@pytest.mark.parametrize("side", SIDES)
def test_a_seed_gives_one_sweep(side: str, spec: SweepSpec, table: Table) -> None:
    first, again = ([(e.key, e.epoch, e.row.point) for e in run(table, SIDES[side](spec, table, 3))] for _ in range(2))
    assert first == again


def test_ours_and_stock_are_sides() -> None:
    assert {OURS, STOCK} < set(SIDES)


def test_the_table_is_whole() -> None:
    """208 configurations, about a third of them thawing late, below half a megabyte."""
    table = Table.read(TABLE)
    gridded = sweep({"root": "photos"}, gridded=True)
    assert [row.point for row in table.rows] == list(gridded.search_space.grid())
    assert len(table.rows) >= 200
    assert 0.25 < sum(row.boundary >= LATE for row in table.rows) / len(table.rows) < 0.4
    for row in table.rows:
        assert row.boundary == freeze_plan(gridded.trial_config(row.point)).last_boundary
        assert len(row.scores) == len(row.flops) == 9
        assert min(row.scores) >= 0 and max(row.scores) <= 1 and min(row.flops) > 0
    assert TABLE.stat().st_size < 500_000
