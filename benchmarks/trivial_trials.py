"""Cost of a trial besides its training, and its growth where many came before.

64 trials of one epoch of timm's smallest EfficientNet on 74 digits of 32 pixels: data, model, optimizer, checkpoint,
predictions, ledger and study are all there, the training takes a fiftieth of a second. Against 64 trials of plain Ray
Tune (`peer_trivial.py`): a function that reports one number and imports nothing, OptunaSearch, two cores, as the
documentation has it and with `max_concurrent_trials=2`. Each side's seconds begin when Ray has started and the driver
has imported what it needs, and include the start of its workers. Then 300 trials, proposed at random, by quarters.
Target: a tenth of plain Ray Tune's time, below 0.25 s a trial.
"""

import tempfile
from pathlib import Path
from typing import Any

from setting import child, left_out, ratios, repeats, spread, write_json

from trainables.data.digits import write_digits

TRIALS, MANY = 64, 300


def measure(count: int) -> str:
    """The section of the results."""
    thaw: list[dict[str, Any]] = []
    many: list[dict[str, Any]] = []
    plain: dict[str, list[dict[str, Any]]] = {"none": [], "2": []}
    for _ in range(count):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            write_digits(folder / "digits", dict.fromkeys(range(10), 0.06))
            for found, trials, sampler in ((thaw, TRIALS, "tpe"), (many, MANY, "random")):
                sweep = write_json(folder / f"{sampler}.yaml", digits_sweep(folder, trials, sampler))
                found.append(child("thaw_sweep.py", sweep, sampler, trials))
        for limit, found in plain.items():
            found.append(child("peer_trivial.py", TRIALS, limit))
    own = [each["seconds"] for each in thaw]
    each_trial = [seconds / TRIALS for seconds in own]
    warm = [(each["ends"][-1] - each["ends"][1]) / (TRIALS - 2) for each in thaw]
    rows = [f"| Thaw, {TRIALS} trials | {spread(own)} | {spread(each_trial, digits=2)} | |"]
    for limit, found in plain.items():
        seconds = [each["seconds"] for each in found]
        name = "as documented" if limit == "none" else f"max_concurrent_trials={limit}"
        each_plain = spread([value / TRIALS for value in seconds], digits=2)
        rows.append(f"| plain Ray Tune, {name} | {spread(seconds)} | {each_plain} | {spread(ratios(seconds, own))} |")
    table = "\n".join(rows)
    wall, busy = (
        "; ".join(
            spread([1000 * seconds for seconds in quartered([each[key] for each in many], part)], digits=0)
            for part in range(4)
        )
        for key in ("ends", "driver")
    )
    return f"""## Trivial trials

| {TRIALS} trials | seconds | a trial | Ray Tune / Thaw |
|---|---|---|---|
{table}
| target | | 0.25 | 10 |

{left_out(thaw + many, "Thaw")}; {left_out([*plain["none"], *plain["2"]], "plain Ray Tune")}.

Once Thaw's workers have started: {spread(warm, " s", 3)} a trial; the first has ended after \
{spread([each["first"] for each in thaw], " s")}.

{MANY} trials proposed at random, milliseconds a trial by quarters of the sweep: {wall}.
Of them the driver is busy with proposals, ledger, study and Tune's loop for: {busy}.
"""


def digits_sweep(folder: Path, trials: int, sampler: str) -> dict[str, Any]:
    """A sweep of trivial trials on the digits in `folder`."""
    return {
        "name": sampler,
        "data": {"root": folder / "digits", "image_size": 32, "resize_mode": "squash"},
        "trial": {"architecture": "test_efficientnet", "weights": "none", "strategy": "full", "epochs": 1},
        "space": {"lr": {"log": [1e-4, 1e-2]}},
        "search": {"trials": trials, "sampler": sampler},
        "stopping": "none",
        "tracking": {"wandb": {"mode": "disabled"}},
        "storage": {"root": folder / "runs", "cache_dir": folder / "cache"},
    }


def quartered(runs: list[list[float]], part: int) -> list[float]:
    """Seconds a trial in a quarter of each run."""
    size = MANY // 4
    return [(ends[min((part + 1) * size, MANY - 1)] - ends[part * size]) / size for ends in runs]


if __name__ == "__main__":
    print(measure(repeats()))
