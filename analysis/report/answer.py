"""Answer of a search in a few sentences: who leads and by how much, whether that is real, and what to do next."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from analysis.comparisons.confirmation import confirmation_text
from analysis.comparisons.folds import fold_deviation, folds_text, kind_of_images
from analysis.comparisons.paired import paired_difference
from analysis.leaderboard import Entry
from analysis.ledger import by_id
from analysis.predictions import output_classes, read_predictions
from analysis.report.panel import RunData
from analysis.run_folder import probe_id
from analysis.run_store import RunStore
from analysis.winner import exported_model, is_chosen
from search_spaces.errors import InvalidInput
from search_spaces.shell import thaw_command
from search_spaces.space import parameters_text
from trainables.interval import Interval
from trainables.task.bootstrap import intervals, statistic_of

# A best trial in the last quarter of the search says that the search had not settled; of fewer trials nothing is said.
_LATE, _FEW = 0.75, 8


@dataclass(frozen=True)
class SearchAnswer:
    """SearchAnswer: the sentences with which a page begins."""

    lead: str
    """Winner and its objective."""

    settings: str
    """Settings of the winner; empty without one."""

    reasons: tuple[str, ...]
    """Sentences on rivals, the linear probe, the test split and failures, where something is known."""

    advice: str
    """Next step."""

    command: str
    """Command of the next step; empty where there is none."""


def answer(data: RunData) -> SearchAnswer:
    """Return the answer of a run, as far as there is one."""
    ranked = [entry for entry in data.board.entries if entry.rank is not None]
    if not ranked:
        lead = "No trial has completed." if data.board.entries else "No trial has completed yet."
        texts = (_unfinished_rival(data, None), _failures(data))
        return SearchAnswer(lead, "", tuple(text for text in texts if text), *_next_step(data, ranked))
    winner, count = data.winner or ranked[0], len(ranked)
    ranked = [winner, *(entry for entry in ranked if entry is not winner)]
    reached = "" if winner.objective is None else f": {data.metric} {winner.objective:.3f}{_folds(data, winner)}"
    lead = f"{_place(data, winner, count)}{reached}"
    bounds = _interval(data, winner)
    if bounds is not None:
        images, interval = bounds
        kind = kind_of_images(winner.trial)
        lead += f" (95 % interval on {images} {kind} images: {interval.low:.3f} to {interval.high:.3f})"
    found = [
        _confirmed(data),
        _unfinished_rival(data, winner),
        _against_runner_up(data, ranked),
        _against_probe(data, winner),
    ]
    found += [_on_test(data), _failures(data)]
    reasons = [text for text in found if text]
    settings_text = f"Trial {winner.trial.trial_id}: {parameters_text(winner.trial.parameters)}"
    if bounds is not None and winner.rank == 1 and len(ranked) > 1:
        settings_text += (
            f". The best of {len(ranked)} was chosen on these images: on others it is likely to be less good."
        )
    return SearchAnswer(f"{lead}.", settings_text, tuple(reasons), *_next_step(data, ranked))


def _folds(data: RunData, winner: Entry) -> str:
    """Return the number of folds whose mean an objective is, and the deviation between them; empty without folds."""
    folds, deviation = folds_text([winner.trial]), fold_deviation(winner.trial, data.metric, winner.epoch)
    apart = "" if deviation is None else f" with a standard deviation of {deviation:.3f}"
    return f", {folds}{apart}" if folds else ""


def _place(data: RunData, winner: Entry, count: int) -> str:
    """Return the winner's settings in short, and what makes it the winner."""
    config = winner.trial.config
    name = f"{config.architecture} with strategy {config.strategy}"
    if winner.rank == 1:
        return f"{name} leads"
    place = "without a rank in the search" if winner.rank is None else f"rank {winner.rank} of {count} in the search"
    try:
        return f"{name} was chosen by hand, {place}" if is_chosen(data.run) else f"{name} is the best finalist, {place}"
    except InvalidInput:
        return name


def _interval(data: RunData, winner: Entry) -> tuple[int, Interval] | None:
    statistic = statistic_of(data.metric)
    place = RunStore(data.run).newest(lambda layer: layer.predictions(winner.trial.trial_id))
    table = read_predictions(RunStore(data.run), place, ("label", "predicted"))
    if statistic is None or table is None or not len(table):
        return None
    labels, predicted = (np.array(table[name].to_pylist(), dtype=str) for name in ("label", "predicted"))
    classes = np.unique(np.concatenate([labels, predicted, np.array(output_classes(table), dtype=str)]))
    outputs = np.equal.outer(predicted, classes).astype(np.float32)
    bounds = intervals(outputs, np.searchsorted(classes, labels), data.board.metrics_version)
    return len(labels), bounds.metrics[statistic]


def _confirmed(data: RunData) -> str:
    if data.confirmation is None:
        return ""
    text = confirmation_text(data.confirmation)
    return f"Finalists under other seeds: {text}."


def _against_runner_up(data: RunData, ranked: list[Entry]) -> str:
    if len(ranked) < 2:
        return ""
    winner, second = ranked[:2]
    is_first = winner.rank == 1
    role = "the runner-up" if is_first else "the first of the leaderboard"
    name = f"{role}, trial {second.trial.trial_id} ({second.objective:.3f})"
    names = winner.trial.trial_id, second.trial.trial_id
    found = paired_difference(data.run, *names, data.metric, data.board.metrics_version)
    if found is None:
        is_known = statistic_of(data.metric) is not None
        reason = "without readable predictions of both" if is_known else f"for {data.metric}, which has no interval"
        order = "It is followed by" if is_first else "It stands behind"
        return f"{order} {name}; whether the difference is real is not known {reason}."
    value, (low, high) = found.difference.value, found.difference.interval
    figures = f"{value:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}"
    if low > 0:
        return f"It is better than {name}: {figures}."
    if high < 0:
        return f"It is worse than {name}: {figures}."
    return f"These images cannot tell it apart from {name}: {figures}."


def _against_probe(data: RunData, winner: Entry) -> str:
    if not data.board.probes:
        return ""
    probe = data.board.probes[0]
    name = f"the best linear probe, that of {probe.architecture} ({probe.objective:.3f})"
    names = winner.trial.trial_id, probe_id(probe.architecture)
    found = paired_difference(data.run, *names, data.metric, data.board.metrics_version)
    if found is None:
        return ""
    value, (low, high) = found.difference.value, found.difference.interval
    figures = f"{value:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}"
    if low > 0:
        return f"It beats {name}: {figures}."
    if high <= 0:
        return f"It does not beat {name}: {figures}; fine-tuning has not paid."
    return f"These images cannot tell it apart from {name}: {figures}."


def _unfinished_rival(data: RunData, winner: Entry | None) -> str:
    """Return a sentence on the best trial that has not completed, where it has been better than the winner."""
    others = [entry for entry in data.judged if entry.rank is None]
    best = max(others, key=lambda entry: data.board.objective.score(entry.objective or 0.0), default=None)
    if best is None or best.objective is None:
        return ""
    if winner is not None and not data.board.objective.better(best.objective, winner.objective or 0.0):
        return ""
    than = "" if winner is None else ", more than the leader" if data.is_rising else ", less than the leader"
    return (
        f"Trial {best.trial.trial_id} ({best.trial.status.value}) has reached {best.objective:.3f} at epoch "
        f"{best.epoch}{than}, and is not ranked: it has not completed."
    )


def _failures(data: RunData) -> str:
    failures = [entry.trial.failure for entry in data.board.entries if entry.trial.failure is not None]
    if not failures:
        return ""
    (message, _), *_ = Counter(failure.message for failure in failures).most_common(1)
    return f"{len(failures)} of {len(data.board.entries)} trials have failed, most often with: {message}"


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
    ended = sum(not entry.trial.status.unfinished for entry in entries)
    planned = max(data.record.trials_planned, len(entries))
    if data.is_driven:
        return f"The search goes on: {ended} of {planned} trials have ended.", thaw_command("status", root)
    if ended < planned and data.record.ended is None:
        return f"{planned - ended} of {planned} trials have not ended.", thaw_command("resume", root)
    if not ranked:
        first = [entry.trial.trial_id for entry in entries[:1]]
        return "Look at the log of a trial.", thaw_command("logs", root, *first)
    if data.retrained is not None:
        if (model := exported_model(data.run)) is not None and not data.has_stale_export:
            return "The winner is exported: let it label photos.", f"{thaw_command('predict', model)} PHOTOS"
        again = ", which was trained again since its export" if model is not None else ", to use it without PyTorch"
        return f"Export the winner{again}.", thaw_command("export", root)
    names = sorted((entry.trial.trial_id for entry in entries), key=by_id)
    is_late = names.index(ranked[0].trial.trial_id) >= _LATE * len(names)
    if len(names) >= _FEW and is_late:
        return "The best trial came late: more may find a better one.", f"{thaw_command('extend', root)} --trials 10"
    settled = "The best trial did not come late: train" if len(names) >= _FEW else "Train"
    if folds_text([ranked[0].trial]):
        return f"{settled} the winner as one model on all images.", thaw_command("retrain", root)
    return f"{settled} the winner again and measure it on the test split.", thaw_command("retrain", root)
