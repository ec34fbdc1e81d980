"""Answer of a search in a few sentences: who leads and by how much, whether that is real, and what to do next."""

from dataclasses import dataclass

import numpy as np

from analysis.leaderboard import Entry
from analysis.ledger import by_id
from analysis.paired import paired_difference
from analysis.predictions import read_predictions
from analysis.report.panel import RunData
from analysis.run_folder import probe_id
from analysis.run_store import RunStore
from analysis.winner import exported_model
from search_spaces.shell import thaw_command
from search_spaces.space import parameters_text
from trainables.task.bootstrap import STATISTICS, Interval, intervals

# A best trial in the last quarter of the search says that the search had not settled.
_LATE = 0.75


@dataclass(frozen=True)
class SearchAnswer:
    """SearchAnswer: the sentences with which a page begins."""

    lead: str
    """Winner and its objective."""

    settings: str
    """Settings of the winner."""

    reasons: tuple[str, ...]
    """Comparison with the runner-up and with the linear probe, where that is known."""

    advice: str
    """The next step."""

    command: str
    """Command of the next step."""


def answer(data: RunData) -> SearchAnswer | None:
    """Return the answer of a run; None before a trial has completed."""
    ranked = [entry for entry in data.board.entries if entry.rank is not None]
    if not ranked:
        return None
    winner = ranked[0]
    config = winner.trial.config
    lead = f"{config.architecture} with strategy {config.strategy} leads: {data.metric} {winner.objective:.3f}"
    bounds = _interval(data, winner)
    if bounds is not None:
        images, interval = bounds
        lead += f" (95 % interval on {images} validation images: {interval.low:.3f} to {interval.high:.3f})"
    texts = (_against_runner_up(data, ranked), _against_probe(data, winner), _on_test(data))
    reasons = [text for text in texts if text]
    settings_text = f"Trial {winner.trial.trial_id}: {parameters_text(winner.trial.parameters)}"
    return SearchAnswer(f"{lead}.", settings_text, tuple(reasons), *_next_step(data, ranked))


def _interval(data: RunData, winner: Entry) -> tuple[int, Interval] | None:
    statistic = next((name for name in STATISTICS if f"val/{name}" == data.metric), None)
    place = RunStore(data.run).newest(lambda layer: layer.predictions(winner.trial.trial_id))
    table = read_predictions(RunStore(data.run), place, ("label", "predicted"))
    if statistic is None or table is None or not len(table):
        return None
    labels, predicted = (np.array(table[name].to_pylist(), dtype=str) for name in ("label", "predicted"))
    classes = np.unique(np.concatenate([labels, predicted]))
    outputs = np.equal.outer(predicted, classes).astype(np.float32)
    return len(labels), intervals(outputs, np.searchsorted(classes, labels)).metrics[statistic]


def _against_runner_up(data: RunData, ranked: list[Entry]) -> str:
    if len(ranked) < 2:
        return ""
    winner, second = ranked[:2]
    name = f"the runner-up, trial {second.trial.trial_id} ({second.objective:.3f})"
    found = paired_difference(data.run, winner.trial.trial_id, second.trial.trial_id, data.metric)
    if found is None:
        return f"It is followed by {name}; whether the difference is real is not known without predictions of both."
    value, (low, high) = found.difference.value, found.difference.interval
    figures = f"{value:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}"
    if low > 0:
        return f"It is better than {name}: {figures}."
    return f"These images cannot tell it apart from {name}: {figures}."


def _against_probe(data: RunData, winner: Entry) -> str:
    if not data.board.probes:
        return ""
    probe = data.board.probes[0]
    name = f"the best linear probe, that of {probe.architecture} ({probe.objective:.3f})"
    found = paired_difference(data.run, winner.trial.trial_id, probe_id(probe.architecture), data.metric)
    if found is None:
        return ""
    value, (low, high) = found.difference.value, found.difference.interval
    figures = f"{value:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}"
    if low > 0:
        return f"It beats {name}: {figures}."
    return f"It does not beat {name}: {figures}; fine-tuning has not paid."


def _on_test(data: RunData) -> str:
    if data.retrained is None or not data.retrained["test"]:
        return ""
    test, metric = data.retrained["test"], data.metric.removeprefix("val/")
    if metric not in test["metrics"]:
        return ""
    bounds = test.get("intervals", {}).get(metric)
    interval = f" (95 % interval {bounds[0]:.3f} to {bounds[1]:.3f})" if bounds else ""
    return f"Trained again, it reaches {metric} {test['metrics'][metric]:.3f}{interval} on the test split."


def _next_step(data: RunData, ranked: list[Entry]) -> tuple[str, str]:
    root, entries = data.run.root, data.board.entries
    unfinished = sum(entry.trial.status.unfinished for entry in entries)
    if data.is_driven:
        done = f"{len(entries) - unfinished} of {data.record.trials_planned} trials have ended"
        return f"The search goes on: {done}.", thaw_command("status", root)
    if unfinished:
        return f"{unfinished} of {len(entries)} trials have not ended.", thaw_command("resume", root)
    if data.retrained is not None:
        if (model := exported_model(data.run)) is not None:
            return "The winner is exported: let it label photos.", f"{thaw_command('predict', model)} PHOTOS"
        return "Export the winner, to use it without PyTorch.", thaw_command("export", root)
    names = sorted((entry.trial.trial_id for entry in entries), key=by_id)
    if len(names) >= 8 and names.index(ranked[0].trial.trial_id) >= _LATE * len(names):
        return "The best trial came late: more may find a better one.", f"{thaw_command('extend', root)} --trials 10"
    settled = "The search has settled: train the winner again and measure it on the test split."
    return settled, thaw_command("retrain", root)
