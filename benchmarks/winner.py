"""From the search to the model: winner and runner-up, test photos, INT8, a student. Writes `benchmarks/winner.md`.

    .venv/bin/python benchmarks/winner.py [FOLDER]

All with the commands of `thaw`, on the photos of TrashNet (1,764 + 378 + 379) at 128 pixels. FOLDER keeps what was
done: a call that was interrupted goes on there. About an hour on two cores.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t
from setting import WEIGHTS, machine, trashnet, write_json

from orchestrator.spec.sweep_spec import THAWS
from search_spaces.documents import parse_yaml
from search_spaces.presets import preset_text
from trainables.bundle.predict import Predictor

THAW = str(Path(sys.executable).with_name("thaw"))
PAGE = Path(__file__).with_suffix(".md")
ARCHITECTURES = ("mobilenetv2_100", "tf_efficientnet_lite0", "tf_mobilenetv3_small_100")
STUDENT = "tf_mobilenetv3_small_100"
SIZE, TRIALS, SEEDS = 128, 12, 5
WARM_UPS, FRAMES = 20, 300


def thaw(folder: Path, *words: object, refusal: bool = False) -> Any:
    """Run a command in a folder and return its JSON document; `refusal` allows exit code 1, of a refused variant."""
    command = [THAW, *map(str, words)]
    print(" ".join(["thaw", *command[1:]]), flush=True)
    done = subprocess.run([*command, "--format", "json"], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1 if refusal else 0):
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout)


def swept(folder: Path, name: str, sweep: dict[str, Any]) -> Path:
    """Run a sweep of the folder to its end, or what is left of it; returns the run."""
    run = folder / "runs" / name
    own = {"name": name, "tracking": {"wandb": {"mode": "disabled"}}}
    own |= {"storage": {"root": str(folder / "runs"), "cache_dir": str(folder / "cache")}}
    file = write_json(folder / f"{name}.yaml", sweep | own)
    words = ("resume", run) if (run / "run.json").is_file() else ("sweep", file)
    print(" ".join(map(str, ("thaw", *words))), flush=True)
    subprocess.run([THAW, *map(str, words), "--quiet"], cwd=folder, check=True)
    return run


def search(folder: Path) -> Path:
    """Search in the quickstart preset's space; each architecture is first tried in both ways, and no trial stopped.

    So there is a best trial of each architecture, and a runner-up that was trained to its end.
    """
    sweep: dict[str, Any] = parse_yaml(preset_text("quickstart"), "quickstart")
    sweep["space"]["architecture"]["choice"] = list(ARCHITECTURES)
    points = [{"architecture": name, "balance": "none", **way} for way in THAWS for name in ARCHITECTURES]
    shown = [{name: value for name, value in point.items() if name in sweep["space"]} for point in points]
    sweep["search"] = {"sampler": "tpe", "trials": TRIALS, "seed": 0, "probe": False, "points": shown}
    sweep["stopping"] = "none"
    sweep["data"] = sweep["data"] | {"root": str(trashnet(folder)), "image_size": SIZE, "weights_dir": str(WEIGHTS)}
    return swept(folder, "winner", sweep)


def confirmed(folder: Path, run: Path) -> str:
    """Winner and runner-up under five seeds, and the winner's figures on the test photos."""
    found = thaw(folder, "confirm", run, "--top", 2, "--seeds", SEEDS)
    test = thaw(folder, "retrain", run)
    low, high = test["intervals"]["macro_f1"]
    trials = {trial["trial_id"]: trial for trial in thaw(folder, "leaderboard", run)}
    rows = []
    for each in found["finalists"]:
        name, p_value = each["trial_id"], each["p_value"]
        chance = "" if p_value is None else "<0.001" if p_value < 0.001 else f"{p_value:.3f}"
        own = f"{each['mean']:.3f} | {spelled(each['interval'])} | {chance}"
        rows.append(f"| {name} | {point(trials[name])} | {own} |")
    verdict = "neither is better than the other at 5 %" if found["winner"] is None else f"{found['winner']} is better"
    return f"""## Winner and runner-up

| trial | settings | mean of {SEEDS} seeds, validation | 95 % | p |
|---|---|---|---|---|
{chr(10).join(rows)}

`thaw confirm --top 2 --seeds {SEEDS}`: {verdict}. The retrained best one has macro-F1 {test["metrics"]["macro_f1"]:.3f}
({low:.3f} to {high:.3f}) on the test photos.
"""


def quantized(folder: Path, run: Path) -> str:
    """INT8 of the best trial of each architecture: loss on validation, size, latency, verdict."""
    board = [trial for trial in thaw(folder, "leaderboard", run) if trial["status"] == "COMPLETED"]
    rows = []
    for architecture in ARCHITECTURES:
        best = next((trial for trial in board if trial["config"]["architecture"] == architecture), None)
        if best is None:
            rows.append(f"| {architecture} | no trial of it was trained to its end | | | | | |")
            continue
        words = ("export", run, "--trial", best["trial_id"], "--variant", "int8")
        (report,) = thaw(folder, *words, refusal=True)["variants"]
        if not report["kept"]:  # for its size and latency alone
            thaw(folder, *words, "--max-drop", 1)
        bundle = run / "exports" / best["trial_id"]
        models = (bundle / "model.onnx", bundle / "model.int8.onnx")
        measured = thaw(folder, "benchmark", *models, "--threads", 1)
        low, high = report["loss"]["interval"]
        kept = "kept" if report["kept"] else "refused"
        rows.append(
            f"| {architecture} | {kept} | {report['loss']['value']:.3f} ({low:.3f} to {high:.3f}) "
            f"| {' to '.join(f'{model.stat().st_size / 2**20:.1f}' for model in models)} "
            f"| {latencies(measured, models, 1)} | {latencies(measured, models, 16)} | {report['settings']} |"
        )
    return f"""## INT8

The best trial of each architecture, `thaw export --variant int8`: kept where the upper end of the interval of its loss
of macro-F1 on the validation photos stays below 0.02. `thaw benchmark --threads 1`: median milliseconds for a batch,
float32 to INT8.

| architecture | verdict | loss | MiB | batch 1 | batch 16 | settings |
|---|---|---|---|---|---|---|
{chr(10).join(rows)}
"""


def frames(folder: Path, run: Path) -> str:
    """Time of `Predictor.predict` for frames of a camera, from the array to the label, with the exported winner."""
    predictor = Predictor.open(run / "export" / "model.onnx", threads=1)
    frame = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    seconds = []
    for _ in range(WARM_UPS + FRAMES):
        before = time.perf_counter()
        predictor.predict(frame)
        seconds.append(time.perf_counter() - before)
    low, middle, high = (1000 * value for value in np.quantile(seconds[WARM_UPS:], (0.05, 0.5, 0.95)))
    network = thaw(folder, "benchmark", run / "export" / "model.onnx", "--threads", 1)
    return f"""## Frames of a camera

`Predictor.open(model, threads=1).predict(frame)` for {FRAMES} frames of 640 x 480, with the winner at {SIZE} pixels:
{middle:.1f} ms a frame in the median ({low:.1f} to {high:.1f} for nine in ten), of which the network takes
{latencies(network, [run / "export" / "model.onnx"], 1)} ms.
"""


def latencies(measured: Sequence[dict[str, Any]], models: Sequence[Path], batch: int) -> str:
    """Return the median milliseconds of the models in onnxruntime on the CPU, for a batch."""
    found = [
        1000 * each["p50"]
        for model in models
        for each in measured
        if (each["model"], each["batch"]) == (str(model), batch)
        and each["runtime"] == "onnxruntime"
        and each["device"] == "CPU"
    ]
    return " to ".join(f"{value:.1f}" for value in found)


def distilled(folder: Path, run: Path) -> str:
    """A student with and without the winner as its teacher, under five seeds, on the test photos."""
    thaw(folder, "export", run)
    sweep = {
        "data": {
            "root": str(trashnet(folder)),
            "image_size": SIZE,
            "resize_mode": "squash",
            "weights_dir": str(WEIGHTS),
        },
        "trial": {"architecture": STUDENT, "strategy": "full", "lr": 1e-3, "epochs": 6, "optimizer": "adamw"},
        "space": {"teacher": {"choice": ["none", str(run)]}, "seed": {"choice": list(range(SEEDS))}},
        "search": {
            "trials": 2 * SEEDS,
            "points": [{"teacher": teacher, "seed": seed} for seed in range(SEEDS) for teacher in ("none", str(run))],
        },
        "stopping": "none",
        "resources": {"cpus_per_worker": 1},
    }
    students = swept(folder, "student", sweep)
    values: dict[bool, dict[int, float]] = {True: {}, False: {}}
    for trial in thaw(folder, "leaderboard", students):
        if trial["status"] != "COMPLETED":  # the linear probe
            continue
        config = trial["config"]
        found = thaw(folder, "evaluate", students, trial["trial_id"], "--split", "test")
        values[config.get("teacher", "none") != "none"][config["seed"]] = found["metrics"]["macro_f1"]
    differences = [values[True][seed] - values[False][seed] for seed in range(SEEDS)]
    mean, spread = statistics.mean(differences), statistics.stdev(differences) / SEEDS**0.5
    reach = float(t.ppf(0.975, SEEDS - 1)) * spread
    means = {taught: statistics.mean(found.values()) for taught, found in values.items()}
    return f"""## A student

{STUDENT}, all of it trained for 6 epochs, with the winner as `trial.teacher` and without, seeds 0 to {SEEDS - 1}.
Macro-F1 on the test photos: {means[True]:.3f} with, {means[False]:.3f} without; difference {mean:+.3f}
({mean - reach:+.3f} to {mean + reach:+.3f}, paired t over the seeds), by seed
{", ".join(f"{each:+.3f}" for each in differences)}.
"""


def point(trial: dict[str, Any]) -> str:
    """Return the settings of a trial in a cell."""
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in trial["parameters"].items()
    )


def spelled(interval: Sequence[float] | None) -> str:
    """Return both ends of an interval."""
    return "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def main() -> None:
    """Measure all, and write the page."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="thaw-winner-")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    print(f"in {folder}", flush=True)
    run = search(folder)
    head = f"""# From the search to the model

`.venv/bin/python benchmarks/winner.py` on {machine()}. TrashNet (1,764 + 378 + 379 photos) at {SIZE} pixels; the
space of the quickstart preset with {", ".join(ARCHITECTURES)}; {TRIALS} trials of 6 epochs, none stopped early, the
first six of them full fine-tuning of each architecture in the two ways that the preset begins with.
"""
    sections = [head]
    for measure in (confirmed, quantized, distilled, frames):
        sections.append(measure(folder, run))
        PAGE.write_text("\n".join(sections))
        print(sections[-1], flush=True)


if __name__ == "__main__":
    main()
