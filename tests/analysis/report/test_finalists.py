import io
import warnings

import plotly.graph_objects as go
from PIL import Image
from run_records import run_record

from analysis.ledger import Ledger
from analysis.report.answer import answer
from analysis.report.finalists import finalists
from analysis.report.panel import RunData
from analysis.report.picture import png
from analysis.run_folder import RunFolder
from trainables.status import Status


def confirm(run: RunFolder, values: dict[str, list[float]]) -> None:
    """Train these trials of the run again, under seeds 100, 101, ..."""
    ledger, number = Ledger(RunFolder(run.confirm)), 0
    ledger.write_run(run_record(trials_planned=sum(map(len, values.values()))))
    for name, found in values.items():
        trial = Ledger(run).read_trial(name)
        for seed, value in enumerate(found, start=100):
            report = trial.reports[-1].model_copy(update={"metrics": {trial.config.objective.metric: value}})
            update = {
                "trial_id": f"{number:04}",
                "config": trial.config.model_copy(update={"seed": seed}),
                "reports": (report,),
                "status": Status.COMPLETED,
            }
            ledger.write_trial(trial.model_copy(update=update))
            number += 1


def ranked(run: RunFolder) -> list[str]:
    return [entry.trial.trial_id for entry in RunData.of(run).board.entries if entry.rank is not None]


def test_without_a_confirmation_there_is_no_panel(run: RunFolder) -> None:
    data = RunData.of(run)
    assert finalists(data) is None
    assert data.winner is not None
    assert data.winner.rank == 1


def test_each_seed_is_a_point_and_the_best_mean_is_the_winner(run: RunFolder) -> None:
    first, second, *_ = ranked(run)
    confirm(run, {first: [0.5, 0.52, 0.51], second: [0.8, 0.82, 0.81]})
    data = RunData.of(run)
    assert data.winner is not None
    assert data.winner.trial.trial_id == second
    panel = finalists(data)
    assert panel is not None
    assert f"{second} is the winner" in panel.note
    assert isinstance(panel.content, go.Figure)
    seeds, means = panel.content.data
    assert sorted(seeds.x) == [0.5, 0.51, 0.52, 0.8, 0.81, 0.82]
    assert list(means.y) == [first, second], "the best is drawn at the top"
    with Image.open(io.BytesIO(png(panel.content))) as picture:
        assert picture.width > 500, "the page shows a picture until a browser draws the figure"
    found = answer(data)
    assert f"Finalists under other seeds: {second} is the winner" in found.reasons[0]
    assert found.settings.startswith(f"Trial {second}:")
    assert "is the best finalist, rank 2 of 24 in the search: val/macro_f1" in found.lead
    assert "The best of" not in found.settings
    assert "It stands behind the first of the leaderboard, trial 0023" in " ".join(found.reasons)


def test_an_interval_ends_where_the_objective_does(run: RunFolder) -> None:
    (first, *_) = ranked(run)
    confirm(run, {first: [0.4, 0.7]})
    data = RunData.of(run)
    assert data.confirmation is not None
    (found,) = data.confirmation.finalists
    assert found.interval == (0.0, 1.0)


def test_finalists_of_which_one_is_constant_are_compared_in_silence(run: RunFolder) -> None:
    first, second, *_ = ranked(run)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        confirm(run, {first: [0.5, 0.5, 0.5], second: [0.8, 0.82, 0.81]})
        assert RunData.of(run).confirmation is not None
