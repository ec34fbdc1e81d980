"""Leaderboard of a sweep as W&B holds it: `wandb:ENTITY/PROJECT/GROUP`, for people who lack the run's folder."""

from dataclasses import replace

from analysis.leaderboard import Leaderboard
from orchestrator.tracking.weights_biases.runs import SUPERSEDED, SentRuns
from search_spaces.errors import InvalidInput
from trainables.result import TrialResult

PREFIX = "wandb:"

_PAGES = ("runs", "groups")


def split_address(address: str, last: str) -> tuple[str, str, str]:
    """Return entity, project and the last part of an address. Raises InvalidInput for any other text."""
    parts = address.removeprefix(PREFIX).rstrip("/").split("/")
    if len(parts) > 3 and parts[2] in _PAGES:  # as the address of its page in W&B has it
        parts = [*parts[:2], parts[3]]
    if not address.startswith(PREFIX) or len(parts) != 3 or not all(parts):
        raise InvalidInput(
            f"{address}: must be {PREFIX}ENTITY/PROJECT/{last}; the address of its page in W&B has the three, before "
            "and after /runs/ or /groups/"
        )
    return parts[0], parts[1], parts[2]


def read_leaderboard(address: str) -> Leaderboard:
    """Read the trials of a group. A run that is not one of Thaw is left out, and named among the problems.

    Raises InvalidInput for a wrong address, without a key, and for a group without trials; ThawError where the service
    cannot be used.
    """
    entity, project, group = split_address(address, "GROUP")
    runs = [run for run in SentRuns(project, entity).find({"group": group}) if run.job_type == "trial"]
    trials: list[TrialResult] = []
    problems: list[str] = []
    for run in runs:
        if SUPERSEDED in run.tags:
            continue
        try:
            trials.append(run.to_trial(address))
        except InvalidInput as error:
            problems.append(str(error))
    if not trials:
        raise InvalidInput(
            f"{address}: must be a group with trials of Thaw, found {len(runs) or 'no'} runs of that group"
            f"{' that are none' if runs else ''}; a group is called <name of the sweep>-<uid of the run>"
        )
    board = Leaderboard.from_trials(trials[0].config.objective, trials, source=address)
    return replace(board, problems=tuple(problems))
