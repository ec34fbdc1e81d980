"""Sections of a sweep file: search, stopping, resources, storage, tracking."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, ValidationInfo, model_validator

from orchestrator.spec.points import Points
from search_spaces.errors import shown
from search_spaces.none_and_auto import OrAuto, OrNone
from search_spaces.paths import FromFile, PathFromFile
from search_spaces.validation import Frozen, parse
from trainables.storage.place import Place


class Search(Frozen):
    """Sampler of configurations, and their number."""

    sampler: Literal["tpe", "gp", "random", "qmc", "grid", "nsga2"] = "tpe"
    """Optuna's sampler; grid runs every point of a countable space in order."""

    trials: int = Field(default=24, ge=1, le=1_000_000)
    """Number of configurations that are tried."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of the sampler; the seed of the trials is `trial.seed`."""

    probe: OrAuto[bool] = None
    """Measure a linear probe of every architecture before the sweep, as its baseline, and try the best ones first.
    auto: where the weights were trained, and the probes cost at most a twentieth of the epochs."""

    points: OrNone[Points] = None
    """Configurations tried first; in the file a list, or the name of a YAML or JSON file that holds one."""

    warm_start: OrNone[list[PathFromFile]] = None
    """Runs on the same images with the same objective; the sampler learns from their trials."""


class Asha(Frozen):
    """Asha: asynchronous successive halving, Li et al., arXiv 1810.05934."""

    grace: int = Field(default=1, ge=1, le=10_000)
    """Epochs that every trial gets before it may be stopped, counted from its last thaw."""

    reduction: int = Field(default=3, ge=2, le=10_000)
    """One in this many of the trials that reach a rung continues."""

    resource: Literal["compute", "epochs"] = "compute"
    """Unit of the rungs: the training FLOPs of epochs, in units of the mean epoch of the trial itself; or epochs."""


class Stopping(Frozen):
    """Early stopping of trials."""

    asha: Asha = Asha()
    """Stop trials that are behind at a rung."""


class Resources(Frozen):
    """Resources of one trial, and the number of trials that run at once."""

    workers: int = Field(default=1, ge=1, le=10_000)
    """Processes of one trial, which divide its batches among themselves."""

    cpus_per_worker: float = Field(default=1, gt=0, le=10_000)
    """CPU cores of a worker, which also sets its number of threads."""

    gpus_per_worker: float = Field(default=0, ge=0)
    """GPUs of a worker, at most 1; a fraction, where a trial has one worker, shares a GPU with other trials."""

    placement: Literal["pack", "spread"] = "pack"
    """pack: the workers of a trial on as few nodes as possible; spread: on as many."""

    concurrent: OrAuto[Annotated[int, Field(ge=1, le=1_000_000)]] = None
    """Trials that run at once; auto: as many as fit, which on a cluster follows its nodes."""

    epoch_timeout: OrNone[Annotated[float, Field(gt=0)]] = None
    """Seconds after which a trial whose epoch has not ended is killed, as TIMED_OUT; none: never."""

    @property
    def threads(self) -> int:
        """Threads for the computation of a worker."""
        return max(1, int(self.cpus_per_worker))

    @property
    def needs_worker_group(self) -> bool:
        """True where a trial runs in separate, supervised processes: several, or one that may be killed."""
        return self.workers > 1 or self.epoch_timeout is not None

    @model_validator(mode="after")
    def _one_gpu_per_worker(self) -> Self:
        if self.gpus_per_worker > 1:
            raise ValueError(
                f"gpus_per_worker must be at most 1, got {self.gpus_per_worker:g}: a worker computes on one GPU; "
                "set gpus_per_worker: 1 and more workers"
            )
        if self.workers > 1 and self.gpus_per_worker % 1:
            raise ValueError(
                f"gpus_per_worker must be 0 or 1 with several workers, got {self.gpus_per_worker:g} with "
                f"workers: {self.workers}: they would wait for each other on one GPU; set 1, or workers: 1"
            )
        return self


class Storage(Frozen):
    """Place of a run."""

    root: Place = Path("runs")
    """RUN is `<root>/<name>`: a folder that every node sees, or `s3://bucket/prefix`."""

    keep_best: OrNone[Annotated[int, Field(ge=1)]] = None
    """Delete, when the sweep ends, the weights of all but this many best trials; none: keep all."""

    cache_dir: OrAuto[PathFromFile] = None
    """Node-local folder for decoded images; auto: `$THAW_CACHE_DIR`, else `~/.cache/thaw`."""

    cache_budget: OrAuto[ByteSize] = None
    """Size limit of the cache folder, e.g. 20GiB; auto: `$THAW_CACHE_BUDGET`, else half of the space its disk has for
    it."""


def _wandb_project(name: str) -> str:
    if not name.strip() or name != name.strip() or len(name) > 128 or (wrong := set(name) & set("/\\#?%:")):
        got = f", with {' '.join(sorted(wrong))}" if name.strip() and name == name.strip() and len(name) <= 128 else ""
        raise ValueError(
            f"must be at most 128 characters, none of them / \\ # ? % :, without blanks at its ends, got {shown(name)}"
            f"{got}; choose another name"
        )
    return name


class Wandb(Frozen):
    """Weights & Biases."""

    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    """auto: online when a key is configured, else offline."""

    entity: OrAuto[str] = None
    """User or team of the project; auto: `$WANDB_ENTITY`, else that of the key."""

    project: Annotated[str, AfterValidator(_wandb_project)] = "thaw"
    """Project of the runs; their group is the sweep's name and the run's uid."""

    log_model: Literal["none", "winner", "all"] = "none"
    """Weights of the best epoch that are kept as artifacts: the winner's, those of all trials, or none."""


class TensorBoard(Frozen):
    """TensorBoard's event files: curves, hyperparameters with the best values, and the status of each trial."""

    folder: OrAuto[PathFromFile] = None
    """Folder that gets one folder per sweep, and in it one per trial; auto: RUN/tensorboard, one per trial."""


def _mlflow_uri(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, str):
        return value
    if "@" in urlsplit(value if "://" in value else f"//{value}").netloc:
        raise ValueError(
            "must be an address without a user name and password, got one with them; leave them in the environment, "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    if not value.startswith(("http://", "https://")):
        if re.match(r"[\w.+-]*:", value) or value == "databricks":
            raise ValueError(
                f"must be a folder or an address http(s)://..., got {shown(value)}; name one of these, a folder with a "
                "colon in its name as ./..."
            )
        return FromFile().resolve(value, info)
    if "?" in value or "#" in value:
        raise ValueError("must be an address without ? and #, got one with them; give the address of the server alone")
    return value


class Mlflow(Frozen):
    """MLflow: a run per sweep, and in it one per trial with its curves, settings and status."""

    uri: OrAuto[Annotated[str, Field(min_length=1), BeforeValidator(_mlflow_uri)]] = None
    """Address of a server, or a folder of this machine; auto: `$MLFLOW_TRACKING_URI`, else the folder RUN/mlruns.
    Credentials stay in MLflow's own variables."""

    experiment: str = Field(default="thaw", min_length=1, max_length=500)
    """Experiment of the runs; it is created where there is none."""


class Notify(Frozen):
    """Notification that a sweep has ended, by itself or by a failure; none when a user stopped it."""

    command: OrNone[str] = None
    """Shell command, with THAW_STATUS, THAW_MESSAGE, THAW_RUN and THAW_BEST among its variables; none. Leave secrets in
    the environment ("$SLACK_URL"): this line is written to the run's folder."""

    wandb_alert: bool = False
    """Send an alert through W&B, where a key is configured."""


class Tracking(Frozen):
    """Reports of the trials' progress to trackers and users."""

    wandb: Wandb = Wandb()
    """Weights & Biases."""

    tensorboard: OrNone[TensorBoard] = None
    """Files for TensorBoard; needs thaw[tensorboard]. none: not written."""

    mlflow: OrNone[Mlflow] = None
    """Runs in MLflow; needs thaw[mlflow]. none: not written."""

    notify: Notify = Notify()
    """Notification of the end."""


def cache_budget(configured: int | None, environment: Mapping[str, str] = os.environ) -> int | None:
    """Return the bytes of the node-local cache: as configured, else $THAW_CACHE_BUDGET; None lets NodeCache choose.

    Raises InvalidInput when the variable is not a number of bytes.
    """
    wanted = environment.get("THAW_CACHE_BUDGET")
    if configured is not None or not wanted:
        return configured
    return parse(Storage, {"cache_budget": wanted}, "$THAW_CACHE_BUDGET").cache_budget
