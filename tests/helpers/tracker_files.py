"""Readers of the files that trackers write, by their framing alone, without the clients that wrote them."""

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml


def wandb_records(file: Path) -> list[Any]:
    """The records of an offline run, which end with `exit`; the client's process may be a moment behind."""
    deadline = time.monotonic() + 10
    while True:
        records = list(leveldb_records(file.read_bytes()))
        if (records and records[-1].HasField("exit")) or time.monotonic() > deadline:
            return records
        time.sleep(0.05)


def leveldb_records(data: bytes) -> Iterator[Any]:
    from wandb.proto import wandb_internal_pb2

    position, parts = 7, b""  # after the header: magic and version
    while position + 7 <= len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        if kind == 0 or position + 7 + length > len(data):
            return  # being written
        parts += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def wandb_values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def tensorboard_events(folder: Path) -> list[Any]:
    """The events of a folder as TensorBoard shows them: a restart at a step hides what was there from it on."""
    from tensorboardX.proto import event_pb2

    events: list[Any] = []
    for file in sorted(folder.glob("events.out.tfevents.*")):
        data, position = file.read_bytes(), 0
        while position < len(data):
            (length,) = struct.unpack_from("<Q", data, position)
            event = event_pb2.Event()
            event.ParseFromString(data[position + 12 : position + 12 + length])
            position += length + 16
            if event.HasField("session_log"):
                events = [old for old in events if old.step < event.step]
            events.append(event)
    return events


class MlflowRun:
    """One run in a folder of MLflow: metrics as (step, value) by name in the order of writing, params, tags."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.meta: dict[str, Any] = yaml.safe_load((folder / "meta.yaml").read_text())
        self.params = self._texts("params")
        self.tags = self._texts("tags")
        self.metrics: dict[str, list[tuple[int, float]]] = {}
        for name, text in self._texts("metrics").items():
            rows = [line.split() for line in text.splitlines()]
            self.metrics[name] = [(int(row[2]), float(row[1])) for row in rows]

    def _texts(self, kind: str) -> dict[str, str]:
        root = self.folder / kind
        return {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*") if path.is_file()}


def mlflow_runs(store: Path) -> list[MlflowRun]:
    """The runs of a folder of MLflow that were not deleted."""
    runs = [MlflowRun(path.parent) for path in sorted(store.glob("*/*/meta.yaml")) if ".trash" not in path.parts]
    return [run for run in runs if run.meta["lifecycle_stage"] == "active"]
