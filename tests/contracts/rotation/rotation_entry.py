"""Entry of the task `rotation` in Thaw's catalog: light, as every command that reads a run imports it."""

from trainables.task_catalog import Metric, TaskEntry

ENTRY = TaskEntry(
    implementation="rotation_task:ROTATION",
    metrics={"val/mae": Metric("min", 0), "val/loss": Metric("min", 0)},
    settings=("head_init",),
)
