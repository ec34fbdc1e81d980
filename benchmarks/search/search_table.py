"""Every configuration of the search benchmark's space, trained once to its end: `search_table.json.gz`.

The table is what `search_quality.py` replays. Nothing is stopped early; the trainable is the real one, its caches are
on. What is trained is kept line by line in `--work`, so a run that was cut off goes on. About 50 minutes on two cores.
"""

import argparse
import csv
import gzip
import json
import multiprocessing
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import search_space
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # setting.py lies there
from setting import WEIGHTS, machine, trashnet

from trainables.config import TrialConfig
from trainables.estimate.flops import training_flops
from trainables.loop.train import train
from trainables.model.freeze_plan import freeze_plan
from trainables.storage.folders import TrialFolders

SIZE = 48
THINNED = 3
"""One training photo in so many is kept, of every class; all validation photos are."""


def photos(work: Path) -> dict[str, Any]:
    """The `data` section: TrashNet below `work`, its training split thinned by a manifest."""
    root = work / "trashnet6"
    if not root.is_dir():
        trashnet(work)
    manifest = work / "photos.csv"
    with manifest.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        for split, step in (("train", THINNED), ("val", 1)):
            for folder in sorted((root / split).iterdir()):
                for photo in sorted(folder.iterdir())[::step]:
                    writer.writerow([photo.relative_to(root), folder.name, split])
    return {
        "root": root,
        "manifest": manifest,
        "image_size": SIZE,
        "resize_mode": "squash",
        "weights_dir": WEIGHTS,
    }


def trained(job: tuple[TrialConfig, dict[str, Any], Path]) -> dict[str, Any]:
    """Train one configuration to its end; its row: the point, and macro-F1 on the validation split by epoch."""
    config, point, work = job
    torch.set_num_threads(1)
    folder = work / "trials" / "-".join(map(str, point.values()))
    folders = TrialFolders(folder / "checkpoints", folder / "predictions.parquet", work / "cache")
    scores = [round(report.metrics["val/macro_f1"], 5) for report in train(config, folders)]
    shutil.rmtree(folder)
    return {"point": point, "scores": scores}


def table(rows: list[dict[str, Any]], configs: list[TrialConfig], photographs: int) -> dict[str, Any]:
    """The rows with what else a replay needs: the epoch of the last thaw, and the training FLOPs of each epoch."""
    more = [
        {
            "boundary": freeze_plan(config).last_boundary,
            "flops": [round(each * photographs) for each in training_flops(config)],
        }
        for config in configs
    ]
    return {"machine": machine(), "rows": [{**row, **values} for row, values in zip(rows, more, strict=True)]}


def main() -> None:
    """Train what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for photos, caches and the rows so far")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    work: Path = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    spec = search_space.sweep(photos(work), gridded=True)
    points = list(spec.search_space.grid())
    file = work / "rows.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    there = [row["point"] for row in rows]
    jobs = [(spec.trial_config(point), point, work) for point in points if point not in there]
    random.Random(0).shuffle(jobs)  # so that the time that is left can be foreseen
    print(f"{len(points)} configurations, {len(jobs)} to train", flush=True)
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool, file.open("a") as lines:
        for row in pool.imap_unordered(trained, jobs):
            rows.append(row)
            lines.write(json.dumps(row) + "\n")
            lines.flush()
            print(row["point"], f"{max(row['scores']):.3f}", flush=True)
    by_point = {str(row["point"]): row for row in rows}
    with (work / "photos.csv").open(newline="") as manifest:
        photographs = sum(line["split"] == "train" for line in csv.DictReader(manifest))
    ordered = [by_point[str(point)] for point in points]
    found = table(ordered, [spec.trial_config(point) for point in points], photographs)
    # Without a time in it, equal tables are equal files.
    search_space.TABLE.write_bytes(gzip.compress(json.dumps(found).encode(), mtime=0))


if __name__ == "__main__":
    main()
