"""Demo (`thaw demo`): the whole chain on handwritten digits, offline, in about two minutes."""

import shlex
from pathlib import Path

from rich.console import Console

from analysis.run_folder import RunFolder
from orchestrator.cluster.runtime import cluster_size
from orchestrator.commands.options import escaped, show_problem
from orchestrator.driver.retrain import retrain_winner
from orchestrator.driver.sweep import run_sweep
from orchestrator.results.export import export_winner
from orchestrator.spec.loading import load
from orchestrator.terminal.live_view import LiveView
from orchestrator.terminal.tables import (
    epoch_text,
    evaluation_tables,
    metrics_text,
    parity_text,
    prediction_table,
)
from orchestrator.terminal.trial_table import trial_table
from search_spaces.presets import preset_text
from trainables.bundle.predict import Predictor
from trainables.data.digits import write_digits

# Digits that are made rare, and the share of their images that is kept.
RARE = {3: 0.3, 6: 0.15, 8: 0.1}


def run_demo(folder: Path, console: Console) -> None:
    """Write the digits, sweep, show the leaderboard, retrain, export, verify and predict, with a note on each step."""
    data = folder / "digits"
    if not data.exists():
        counts = write_digits(data, keep=RARE)
        kept = ", ".join(f"{share:.0%} of the {digit}s" for digit, share in RARE.items())
        console.print(
            f"[bold]1. Data.[/bold] {sum(counts.values())} of scikit-learn's 1,797 real handwritten digits in "
            f"{escaped(data)}/{{train,val,test}}/, made imbalanced on purpose: only {kept} are kept."
        )
    else:
        console.print(f"[bold]1. Data.[/bold] The digits in {escaped(data)} are used again.")

    file = folder / "sweep.yaml"
    file.write_text(preset_text("demo"))
    spec = load(file, name=_free_name(folder / "runs"))
    console.print(
        f"\n[bold]2. Sweep.[/bold] {spec.search.trials} trials of at most {spec.trial['epochs']} epochs over "
        f"{len(spec.space['architecture']['choice'])} architectures ({escaped(file)}). The weights are random, because "
        "the demo works offline: with ImageNet weights freezing pays, here it does not, and the search has to find "
        "that out."
    )
    with LiveView(console, spec, cluster_size) as view:
        outcome = run_sweep(spec, observers=[view])
    run = outcome.run

    console.print("\n[bold]3. Leaderboard.[/bold] `thaw leaderboard`")
    console.print(trial_table(outcome.leaderboard.entries, spec.objective, console, outcome.leaderboard.probes))

    console.print("\n[bold]4. Retrain[/bold] the winner and measure it once on the test split. `thaw retrain`")
    retrained = retrain_winner(
        run.root, lambda report: console.print(epoch_text(report), highlight=False, soft_wrap=True), show_problem
    )
    assert retrained.test is not None  # the digits have one
    console.print(evaluation_tables(retrained.test, console))
    console.print(metrics_text(retrained.test))

    console.print("\n[bold]5. Export[/bold] to ONNX and verify on the validation images. `thaw export`")
    exported = export_winner(run.root, show_problem)
    bundle = exported.bundle
    console.print(
        f"{escaped(bundle.model)} ({exported.origin}): {parity_text(bundle.parity, exported.on)}", soft_wrap=True
    )

    console.print("\n[bold]6. Predict[/bold] three test images with the ONNX model. `thaw predict`")
    images = [next(iter(sorted((data / "test" / digit).iterdir()))) for digit in ("0", "3", "7")]
    console.print(prediction_table(Predictor.open(bundle.model).predict_files(images)))
    console.print(_next_steps(run))


def _free_name(runs: Path) -> str:
    names = ("demo", *(f"demo-{number}" for number in range(2, 10_000)))
    return next(name for name in names if not (runs / name).exists())


def _next_steps(run: RunFolder) -> str:
    return (
        f"\nEverything is in {escaped(run.root)}. [bold]Now with your own photos[/bold], one folder per class below "
        "photos/train, photos/val and photos/test,\nand with ImageNet weights from timm's hub:\n\n"
        "  thaw init sweep.yaml --preset quickstart --data photos\n"
        "  thaw space sweep.yaml\n"
        "  thaw sweep sweep.yaml\n"
        "  thaw leaderboard runs/sweep\n"
        "  thaw retrain runs/sweep\n"
        "  thaw export runs/sweep\n"
        f"  thaw predict runs/sweep/export/model.onnx {shlex.quote('photo.jpg')}\n"
    )
