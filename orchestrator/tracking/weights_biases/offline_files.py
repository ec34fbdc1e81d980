"""Offline files of W&B: `offline-run-<time>-<id>/run-<id>.wandb`, one for each time that a run was opened."""

from pathlib import Path

from analysis.run_folder import RunFolder


def unsent_files(run: RunFolder, run_id: str) -> list[Path]:
    """Return the files of a run in W&B that were recorded offline and not sent since."""
    return [file for file in run.wandb.glob(f"offline-run-*/run-{run_id}.wandb") if not _mark(file).exists()]


def mark_as_sent(file: Path) -> None:
    """Let the client know that it need not send a file: `wandb sync` leaves it out, `wandb sync --clean` deletes it."""
    _mark(file).touch()


def _mark(file: Path) -> Path:
    return file.with_name(f"{file.name}.synced")
