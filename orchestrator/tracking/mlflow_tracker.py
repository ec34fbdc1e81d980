"""MLflow: one parent run per sweep with the leaderboard, and one nested run per trial."""

import math
import os
import posixpath
import re
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from analysis.run_folder import RunFolder
from analysis.run_store import RunStore
from orchestrator.spec.sections import Mlflow
from orchestrator.tracking.flat_config import flat_config
from orchestrator.tracking.isolated_tracker import Client, describe_outage
from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.sweep_identity import SweepIdentity
from orchestrator.tracking.tracker import CLIENT_PAUSE_SECONDS, TrialContext
from search_spaces.errors import InvalidInput, shown
from trainables.result import EpochReport
from trainables.status import Status
from trainables.storage.place import Place

ADDRESS_VARIABLE = "MLFLOW_TRACKING_URI"

# MLflow's limits for one request, one name and one value.
_PARAMETERS, _METRICS, _NAME, _VALUE = 100, 1000, 250, 6000

_SECONDS = "time/epoch_s"

# Tags by which a run is found again. The run of a sweep lacks the second one.
_RUN_TAG, _TRIAL_TAG = "thaw.run", "thaw.trial"

# MLflow knows fewer statuses; the tag `status` has Thaw's.
_STATUSES = {
    Status.RUNNING: "KILLED",  # its driver ended first
    Status.INTERRUPTED: "KILLED",
    Status.COMPLETED: "FINISHED",
    Status.PRUNED: "FINISHED",
    Status.PRUNED_OOM: "FAILED",
    Status.FAILED: "FAILED",
    Status.TIMED_OUT: "FAILED",
}


class MlflowTracker:
    """MlflowTracker: runs of MLflow, in a process of its own with the `configured_client`.

    A resumed trial continues in its run, a trial that starts anew replaces its run.
    """

    name = "MLflow"

    def __init__(self, experiment: str, uri: str | None) -> None:
        """Keep the name of the experiment and the folder or address; None is the folder `mlruns` of the run."""
        self._experiment = experiment
        self._uri = uri
        self._sweep: _SweepRuns | None = None

    def start(self, context: TrialContext) -> "MlflowTrial":
        """Open the run of a trial within that of its sweep."""
        sweep = self._open(context.sweep, context.folder)
        parent = sweep.reopen_parent()
        tags = {"mlflow.parentRunId": parent, "sweep": context.sweep.name, "job_type": context.job_type}
        run, recorded = sweep.reopen(context.name, tags, context.earlier)
        texts = {_allowed(name): str(value)[:_VALUE] for name, value in flat_config(context.config).items()}
        values = {name: text for name, text in texts.items() if name not in run.parameters}
        _log_parameters(sweep.client, run.run_id, values)
        trial = MlflowTrial(sweep.client, run.run_id, len(context.earlier))
        for report in context.earlier[recorded:]:
            trial.log(report)
        return trial

    def publish(self, summary: SweepSummary) -> None:
        """Write values and files of the summary to the parent run, over those that were published before."""
        sweep = self._open(summary.sweep, summary.folder)
        client, run_id = sweep.client, sweep.reopen_parent()
        values = summary.values()
        numbers = {name: value for name, value in values.items() if not isinstance(value, str)}
        texts = {name: value for name, value in values.items() if isinstance(value, str)}
        _log_rows(client, run_id, {0: numbers}, texts)
        with tempfile.TemporaryDirectory() as scratch:
            table = Path(scratch) / "leaderboard.csv"
            summary.leaderboard.write_csv(table)
            client.log_artifact(run_id, str(table))
        if summary.model is not None:
            folder: Place = summary.model.parent
            files: list[Place] = [place for place in folder.iterdir() if not place.name.startswith(".")]
            store = RunStore(summary.run)
            for place in files:
                with store.reading(place) as path:
                    client.log_artifact(run_id, str(path), folder.name)
        is_open = any(entry.trial.status.unfinished for entry in summary.leaderboard.entries)
        client.set_terminated(run_id, "KILLED" if is_open else "FINISHED")

    def _open(self, sweep: SweepIdentity, folder: Path) -> "_SweepRuns":
        if self._sweep is None:
            from mlflow import MlflowClient  # takes a second, and configures logging

            uri = self._uri or str(local_folder(folder))
            client = MlflowClient(tracking_uri=uri if is_service(uri) else Path(uri).resolve().as_uri())
            self._sweep = _SweepRuns(client, _experiment_id(client, self._experiment), sweep)
        return self._sweep


class MlflowTrial:
    """MlflowTrial: one trial in MLflow; every step is an epoch."""

    def __init__(self, client: Any, run_id: str, epoch: int) -> None:
        self._client = client
        self._run_id = run_id
        self._epoch = epoch
        self._waiting: dict[int, dict[str, float]] = {}
        self._sent = time.monotonic()

    def log(self, report: EpochReport) -> None:
        """Send the metrics of an epoch, under its own number."""
        self._epoch = report.epoch
        # The seconds come last, where metrics are written one after another: they stand for a whole row.
        self._waiting[report.epoch] = {**report.metrics, _SECONDS: report.seconds}
        if time.monotonic() - self._sent >= CLIENT_PAUSE_SECONDS:
            self._send()

    def finish(self, status: Status, summary: Mapping[str, float]) -> None:
        """Send the final values, under the number of the last epoch, and close the run with its status as a tag."""
        self._waiting.setdefault(self._epoch, {}).update(summary)
        self._send({"status": status.value})
        self._client.set_terminated(self._run_id, _STATUSES[status])

    def _send(self, tags: Mapping[str, str] | None = None) -> None:
        rows, self._waiting = self._waiting, {}
        if rows:
            _log_rows(self._client, self._run_id, rows, tags)
            self._sent = time.monotonic()


class _SweepRuns:
    """_SweepRuns: runs of one sweep in MLflow, found once by their tags and then by their names."""

    def __init__(self, client: Any, experiment: str, sweep: SweepIdentity) -> None:
        self.client = client
        self._experiment = experiment
        self._sweep = sweep
        self._key = sweep.uid or sweep.name
        found = _search(client, experiment, f"tags.`{_RUN_TAG}` = '{self._key}'")
        self._runs = {run.data.tags.get(_TRIAL_TAG): _KnownRun.of(run) for run in found}
        self._parent: str | None = None

    def reopen_parent(self) -> str:
        """Return the id of the sweep's run, which is running again."""
        if self._parent is None:
            self._parent = self._reopen(None, self._sweep.name, {}).run_id
        return self._parent

    def reopen(self, name: str, tags: Mapping[str, str], earlier: Sequence[EpochReport]) -> tuple["_KnownRun", int]:
        """Return a trial's run, which is running again, and the number of the earlier epochs that it holds.

        A run that holds other epochs, of a trial that starts anew, is deleted and made anew.
        """
        recorded: list[float] = []
        if known := self._runs.get(name):
            history = self.client.get_metric_history(known.run_id, _SECONDS)
            recorded = [metric.value for metric in sorted(history, key=lambda metric: metric.step)]
            if recorded != [report.seconds for report in earlier[: len(recorded)]]:
                self.client.delete_run(known.run_id)
                del self._runs[name]
                recorded = []
        return self._reopen(name, name, {_TRIAL_TAG: name, **tags}), len(recorded)

    def _reopen(self, key: str | None, label: str, tags: Mapping[str, str]) -> "_KnownRun":
        if known := self._runs.get(key):
            self.client.update_run(known.run_id, status="RUNNING")
            return known
        run = self.client.create_run(self._experiment, tags={_RUN_TAG: self._key, **tags}, run_name=label)
        self._runs[key] = _KnownRun(run.info.run_id, frozenset())
        return self._runs[key]


@dataclass(frozen=True)
class _KnownRun:
    """_KnownRun: a run that exists in MLflow."""

    run_id: str
    parameters: frozenset[str]
    """Names of the parameters, which MLflow never changes."""

    @classmethod
    def of(cls, run: Any) -> Self:
        """Read a run of MLflow."""
        return cls(run.info.run_id, frozenset(run.data.params))


def tracking_uri(settings: Mlflow, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the folder or address of the file, else of `$MLFLOW_TRACKING_URI`; None is the folder of the run.

    Raises InvalidInput when the variable is neither.
    """
    if settings.uri is not None:
        return settings.uri
    uri = environment.get(ADDRESS_VARIABLE)
    if not uri:
        return None
    uri = uri.removeprefix("file://")
    if not is_service(uri) and (re.match(r"[a-z][a-z0-9+.-]*:", uri) or uri.startswith("databricks")):
        kind = urlsplit(uri).scheme or uri
        raise InvalidInput(
            f"${ADDRESS_VARIABLE}: must be a folder or an address http(s)://..., got one of the kind {shown(kind)}; "
            "set another, or tracking.mlflow.uri"
        )
    return uri if is_service(uri) else str(Path(uri).absolute())


def is_service(uri: str) -> bool:
    """Return whether a server is named, in place of a folder."""
    return uri.startswith(("http://", "https://"))


def local_folder(run: Path) -> Path:
    """Return the folder for MLflow's files in that of a run."""
    return run / "mlruns"


def configured_client(request_seconds: float) -> Client:
    """Return the client for a process of its own; a request with its second try takes about `request_seconds`."""
    environment = {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(math.ceil(request_seconds / 2)),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
        # New versions of the client refuse a folder without it.
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    return Client("mlflow", environment=environment)


def outage_explainer(uri: str) -> Callable[[Exception, RunFolder], str]:
    """Return the function that makes the message to users that the folder of the run takes over from a server."""
    return partial(_explain, uri)


def _explain(uri: str, error: Exception, run: RunFolder) -> str:
    kept = shlex.quote(str(local_folder(run.local)))
    return (
        f"{MlflowTracker.name}: {describe_outage(uri, error)}; the rest is recorded in {local_folder(run.local)}, "
        f"look at it with: MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri {kept}"
    )


def _experiment_id(client: Any, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException:  # another sweep has just created it
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def _search(client: Any, experiment: str, tags: str) -> Iterator[Any]:
    token = None
    while True:
        page = client.search_runs([experiment], tags, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _log_rows(
    client: Any, run_id: str, rows: Mapping[int, Mapping[str, float]], tags: Mapping[str, str] | None = None
) -> None:
    """Log the metrics of some steps, and then the tags."""
    from mlflow.entities import RunTag

    metrics = [metric for step, values in rows.items() for metric in _metrics(values, step)]
    texts = [RunTag(_allowed(name), value[:_VALUE]) for name, value in (tags or {}).items()]
    for first in range(0, max(len(metrics), 1), _METRICS):
        is_last = first + _METRICS >= len(metrics)
        client.log_batch(run_id, metrics=metrics[first : first + _METRICS], tags=texts if is_last else ())


def _metrics(values: Mapping[str, float], step: int) -> list[Any]:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [Metric(_allowed(name), value, now, step) for name, value in values.items()]


def _log_parameters(client: Any, run_id: str, values: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    parameters = [Param(name, value) for name, value in values.items()]
    for first in range(0, len(parameters), _PARAMETERS):
        client.log_batch(run_id, params=parameters[first : first + _PARAMETERS])


def _allowed(name: str) -> str:
    """Return a name with `_` in place of the characters that MLflow refuses; it must also be a relative path."""
    text = posixpath.normpath(re.sub(r"[^/\w.\- ]", "_", name)).lstrip("/.")
    return text[:_NAME] or "_"
