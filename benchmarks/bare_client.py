"""Cost of a tracker's client without Thaw: 64 runs of six rows, with the fewest calls. Prints one line of JSON.

Seconds of all cores, of this process and its children; wandb's child does the writing.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

RUNS, EPOCHS = 64, 6
ROW = {f"val/metric{number}": 0.5 for number in range(8)}
SETTINGS = {f"setting{number}": number for number in range(25)}


def wandb_runs(folder: Path) -> Callable[[], None]:
    """Import W&B's client; return what writes the runs."""
    import wandb

    def write() -> None:
        settings = wandb.Settings(
            console="off",
            silent=True,
            disable_git=True,
            disable_code=True,
            x_disable_stats=True,
            x_disable_meta=True,
            x_save_requirements=False,
            symlink=False,
        )
        wandb.setup(settings)
        for number in range(RUNS):
            run = wandb.init(
                project="bench",
                name=str(number),
                dir=folder,
                mode="offline",
                reinit="create_new",
                config=SETTINGS,
                settings=settings,
            )
            for epoch in range(1, EPOCHS + 1):
                run.log(ROW | {"epoch": epoch}, step=epoch)
            run.finish()
        wandb.teardown()

    return write


def mlflow_runs(folder: Path) -> Callable[[], None]:
    """Import MLflow's client; return what writes the runs."""
    os.environ |= {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    def write() -> None:
        client = MlflowClient(tracking_uri=folder.as_uri())
        experiment = client.create_experiment("bench")
        parameters = [Param(name, str(value)) for name, value in SETTINGS.items()]
        for number in range(RUNS):
            run = client.create_run(experiment, run_name=str(number)).info.run_id
            rows = [Metric(name, value, 0, epoch) for epoch in range(1, EPOCHS + 1) for name, value in ROW.items()]
            client.log_batch(run, metrics=rows, params=parameters)
            client.set_terminated(run)

    return write


def core_seconds() -> float:
    """Seconds of all cores, of this process and the children that have ended."""
    return sum(os.times()[:4])


def main() -> None:
    """Write the runs of the client that is named."""
    before = core_seconds()
    with tempfile.TemporaryDirectory() as folder:
        write = {"wandb": wandb_runs, "mlflow": mlflow_runs}[sys.argv[1]](Path(folder))
        imports = core_seconds() - before
        write()
        time.sleep(1)  # the child of wandb ends by itself
    print(json.dumps({"imports": imports, "seconds": core_seconds() - before}))


if __name__ == "__main__":
    main()
