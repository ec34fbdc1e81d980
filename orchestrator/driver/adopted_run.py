"""Adopted run: a run folder for one trial that W&B holds, to retrain and export it without its sweep."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.driver.sweep import create_run
from orchestrator.spec.loading import resolve
from search_spaces.errors import InvalidInput
from search_spaces.shell import thaw_command
from trainables.data.arrays import load_arrays
from trainables.result import TrialResult
from trainables.status import Status
from trainables.storage.folders import cache_folder
from trainables.storage.place import Place

_SECTIONS = ("data", "task", "objective")


def adopt_trial(
    trial: TrialResult, name: str, source: str, data: Path | None = None, tracking: Mapping[str, Any] | None = None
) -> Place:
    """Write `runs/<name>` in the current folder, with the trial as its winner, and return it.

    `data` is the folder of the photos, where it is another one on this machine; `tracking` is that section of the
    run's sweep file. Raises InvalidInput, naming `source`,
    for a trial that is not COMPLETED, for photos that cannot be used, and where the folder exists.
    """
    if trial.status is not Status.COMPLETED:
        raise InvalidInput(f"{source}: must be a COMPLETED trial to be retrained, got {trial.status}; take another one")
    values = trial.config.to_json()
    if data is not None:
        values["data"] = {**values["data"], "root": str(data.resolve())}
    settings = {key: value for key, value in values.items() if key not in (*_SECTIONS, "architecture")}
    raw: dict[str, Any] = {
        "name": name,
        **{section: values[section] for section in _SECTIONS},
        "trial": settings,
        "space": {"architecture": {"choice": [values["architecture"]]}},
        "search": {"trials": 1, "probe": False},
        "stopping": "none",
        "tracking": dict(tracking or {}),
    }
    spec = resolve(raw, Path.cwd(), source)
    run = RunFolder(spec.storage.root / name)
    if run.root.exists():
        raise InvalidInput(
            f"{run.root}: must not exist yet, since {source} is written there; retrain what is there with "
            f"`{thaw_command('retrain', run.root)}`, or move it away"
        )
    config = spec.trial_config({"architecture": values["architecture"]})
    create_run(run, spec, load_arrays(config.data, cache_folder(None)))
    parameters = {"architecture": config.architecture}
    adopted = trial.model_copy(update={"trial_id": "0000", "config": config, "parameters": parameters})
    Ledger(run).write_trial(adopted)
    return run.root
