"""Media of W&B: tables, and the weights, records and models of a sweep as artifacts."""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from analysis.class_scores import class_scores
from analysis.run_folder import RunFolder
from analysis.run_store import RunStore
from orchestrator.tracking.summary import SweepSummary, TrialFiles
from search_spaces.user_files import RECORD, read_user_file
from trainables.checkpoint_state import partial_state
from trainables.result import TrialResult
from trainables.storage.place import Place


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Any:
    """Return a table of W&B, in which a column may hold texts and numbers."""
    import wandb

    return wandb.Table(columns=[*columns], data=[[*row] for row in rows], allow_mixed_types=True)


def class_tables(run: RunFolder, files: TrialFiles) -> dict[str, Any]:
    """Return the scores by class and the confusion matrix of a trial's best epoch; nothing without classes.

    The matrix has the columns of W&B's own chart of it, `wandb.plot.confusion_matrix`.
    """
    scores = class_scores(run, files.predictions)
    if scores is None:
        return {}
    return {
        "val/classes": table(["class", "precision", "recall", "f1", "images"], scores.rows),
        "val/confusion_matrix": table(["Actual", "Predicted", "nPredictions"], scores.confusions),
    }


def weights_artifact(run: RunFolder, files: TrialFiles, group: str, trial: str) -> Any:
    """Return the artifact with the whole model of a trial's best epoch; None where there is none.

    Raises InvalidInput where the checkpoint holds only what was trained, and the weights it needs are gone.
    """
    import wandb

    with RunStore(run).reading(files.checkpoint) as folder, TemporaryDirectory() as scratch:
        if not folder.is_dir():
            return None
        artifact = wandb.Artifact(_artifact_name(f"{group}-weights"), "model", metadata={"trial": trial})
        state = partial_state(folder)
        if state is None or state.config.data.folds_trained is not None:  # heads of folds are no model to complete
            artifact.add_dir(str(folder), policy=_policy(files.checkpoint))
        else:
            artifact.add_dir(str(_whole_copy(folder, Path(scratch))), policy="mutable")
    return artifact


def record_artifact(group: str, trial: TrialResult) -> Any:
    """Return the artifact with the record of a trial, which stands for it where its weights are not kept."""
    import wandb

    artifact = wandb.Artifact(_artifact_name(f"{group}-record-{trial.trial_id}"), "trial")
    with artifact.new_file("trial.json", mode="w") as file:
        file.write(trial.to_json())
    return artifact


def model_artifact(summary: SweepSummary) -> Any:
    """Return the artifact with the files of the exported bundle, its parity in the metadata; None before an export."""
    import wandb

    if summary.model is None or summary.exported is None:
        return None
    name, store = _artifact_name(f"{summary.sweep.group}-model"), RunStore(summary.run)
    artifact = wandb.Artifact(name, "model", metadata={"trial": summary.exported})
    places: list[Place] = [*summary.model.parent.iterdir()]
    for place in sorted(places, key=lambda place: place.name):
        if place.name.startswith("."):  # left by an export that was killed
            continue
        with store.reading(place) as path:
            if not path.is_file():  # W&B would wait for the writer of a pipe
                continue
            artifact.add_file(str(path), name=place.name, policy=_policy(place))
            if place.name == "parity.json":
                artifact.metadata = {**artifact.metadata, "parity": json.loads(read_user_file(path, RECORD))}
    return artifact


def _whole_copy(folder: Path, scratch: Path) -> Path:
    from trainables.loop.checkpoint import make_whole  # loads torch, which other weights do not wait for

    copy = scratch / folder.name
    shutil.copytree(folder, copy)
    make_whole(copy)
    return copy


def _policy(place: Place) -> Any:
    """Return how a file is added: one of the run itself is read where it lies, a copy of it is copied again."""
    return "immutable" if isinstance(place, Path) else "mutable"


def _artifact_name(text: str) -> str:
    """Return a name without the characters that W&B refuses."""
    return re.sub(r"[^\w.-]", "-", text, flags=re.ASCII)[:128]
