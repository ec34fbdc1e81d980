"""Adopted run: a run folder for one trial that no sweep here has trained, to retrain and export it.

Its trial is one that W&B holds, or a configuration file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.driver.retrain import check_test_split
from orchestrator.driver.sweep import create_run
from orchestrator.spec.loading import load_trial, resolve
from search_spaces.errors import InvalidInput
from search_spaces.shell import thaw_command
from trainables.config import TrialConfig
from trainables.data.arrays import load_arrays
from trainables.result import TrialResult
from trainables.status import Status
from trainables.storage.folders import cache_folder
from trainables.storage.place import Place

_SECTIONS = ("data", "task", "objective")
_TRIAL_ID = "0000"


def adopt_trial(
    trial: TrialResult, name: str, source: str, data: Place | None = None, tracking: Mapping[str, Any] | None = None
) -> Place:
    """Write `runs/<name>` in the current folder, with the trial as its winner, and return it.

    `data` is the folder of the photos, where it is another one on this machine; `tracking` is that section of the
    run's sweep file. Raises InvalidInput, naming `source`,
    for a trial that is not COMPLETED, for photos that cannot be used, and where the folder exists.
    """
    if trial.status is not Status.COMPLETED:
        raise InvalidInput(f"{source}: must be a COMPLETED trial to be retrained, got {trial.status}; take another one")
    run, config = _create(trial.config, name, source, data, tracking or {})
    parameters = {"architecture": config.architecture}
    adopted = trial.model_copy(update={"trial_id": _TRIAL_ID, "config": config, "parameters": parameters})
    Ledger(run).write_trial(adopted)
    return run.root


def adopt_config(path: Path, data: Place | None = None) -> tuple[Place, TrialResult]:
    """Write `runs/<name of the file>` in the current folder, and return it with the trial of the file, not yet trained.

    A run that a former attempt has left is taken again. Raises InvalidInput for a file that is no trial's, for photos
    that cannot be used, and where the folder holds something else.
    """
    wanted = load_trial(path)
    if (left := _left_by_attempt(path, wanted, data)) is not None:
        return left
    run, config = _create(wanted, path.stem, str(path), data, {})
    parameters = {"architecture": config.architecture}
    # Until it is trained it is as one that a sweep has begun: `thaw resume` would train it too.
    trial = TrialResult(trial_id=_TRIAL_ID, config=config, parameters=parameters)
    Ledger(run).write_trial(trial)
    return run.root, trial


def _left_by_attempt(path: Path, wanted: TrialConfig, data: Place | None) -> tuple[Place, TrialResult] | None:
    """Return the run of a former attempt to train the same file, with its trial; None where there is none."""
    run = RunFolder(Path.cwd() / "runs" / path.stem)
    if not run.run_json.is_file() or not run.trial(_TRIAL_ID).is_file():
        return None
    trial = Ledger(run).read_trial(_TRIAL_ID)
    expected = wanted if data is None else _elsewhere(wanted, data)
    return (run.root, trial) if not trial.reports and trial.config == expected else None


def _elsewhere(config: TrialConfig, data: Place) -> TrialConfig:
    """Return the configuration with its photos in another folder."""
    return config.model_copy(update={"data": config.data.model_copy(update={"root": data.resolve()})})


def _create(
    wanted: TrialConfig, name: str, source: str, data: Place | None, tracking: Mapping[str, Any]
) -> tuple[RunFolder, TrialConfig]:
    """Create the run of one configuration, and return it with the configuration as it is there."""
    values = (wanted if data is None else _elsewhere(wanted, data)).to_json()
    settings = {key: value for key, value in values.items() if key not in (*_SECTIONS, "architecture")}
    raw: dict[str, Any] = {
        "name": name,
        **{section: values[section] for section in _SECTIONS},
        "trial": settings,
        "space": {"architecture": {"choice": [values["architecture"]]}},
        "search": {"trials": 1, "probe": False},
        "stopping": "none",
        "tracking": dict(tracking),
    }
    spec = resolve(raw, Path.cwd(), source)
    run = RunFolder(spec.storage.root / name)
    if run.root.exists():
        raise InvalidInput(
            f"{run.root}: must not exist yet, since {source} is written there; retrain what is there with "
            f"`{thaw_command('retrain', run.root)}`, or move it away"
        )
    config = spec.trial_config({"architecture": values["architecture"]})
    arrays = load_arrays(config.data, cache_folder(None))
    check_test_split(arrays.dataset, config.data)
    create_run(run, spec, arrays)
    return run, config
