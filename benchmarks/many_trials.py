"""Does the thousandth trial cost the driver more than the first?

1,000 trials of one epoch of timm's smallest EfficientNet on 74 digits, as in `trivial_trials.py`: proposed at random
and by TPE in a flat space, and by TPE in a conditional one, which it models group by group. By hundreds of trials: the
processor time of the driver (proposals, ledger, study, Tune's loop), which a busy machine does not lengthen, and its
resident memory. Then the seconds to read the ledger.
Targets: below 20 ms a trial at random and 50 ms by TPE, memory flat, the ledger in less than a second.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

from setting import child, repeats, spread, write_json
from trivial_trials import digits_sweep

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from trainables.data.digits import write_digits

TRIALS = 1000
HUNDREDS = (0, 4, 9)
CONDITIONAL = {
    "strategy": {"choice": ["head", "partial", "full"]},
    "trainable_stages": {"int": [1, 3], "when": {"strategy": "partial"}},
    "lr": [
        {"log": [1e-3, 1e-2], "when": {"strategy": "head"}},
        {"log": [1e-4, 1e-2], "when": {"strategy": ["partial", "full"]}},
    ],
    "balance": {"choice": ["none", "sampler", "loss"]},
    "weight_decay": {"log": [1e-4, 1e-1]},
}


def measure(count: int) -> str:
    """The section of the results."""
    found: dict[str, list[dict[str, Any]]] = {"random": [], "tpe": [], "tpe, conditional": []}
    for _ in range(count):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            write_digits(folder / "digits", dict.fromkeys(range(10), 0.06))
            for number, (name, results) in enumerate(found.items()):
                sweep = digits_sweep(folder, TRIALS, name.partition(",")[0]) | {"name": f"sweep{number}"}
                if "conditional" in name:
                    sweep["space"] = CONDITIONAL
                    del sweep["trial"]["strategy"]
                file = write_json(folder / f"sweep{number}.yaml", sweep)
                results.append(child("thaw_sweep.py", file, name, TRIALS))
                started = time.perf_counter()
                trials = Ledger(RunFolder(folder / "runs" / f"sweep{number}")).trials()
                results[-1]["ledger"] = time.perf_counter() - started
                assert len(trials) == TRIALS
    rows = []
    for name, results in found.items():
        cells = [spread([1000 * busy(each, part) for each in results], digits=0) for part in HUNDREDS]
        cells.append(spread([grown(each) for each in results], digits=0))
        cells.append(spread([each["ledger"] for each in results], digits=2))
        rows.append(f"| {name} | {' | '.join(cells)} |")
    hundreds = " | ".join(f"{part + 1}. hundred, ms" for part in HUNDREDS)
    table = "\n".join(rows)
    return f"""## {TRIALS:,} trials

| proposed by | {hundreds} | driver's memory from trial 100 on, MiB | ledger, s |
|---|{"---|" * (len(HUNDREDS) + 2)}
{table}

Processor time of the driver a trial, by hundreds. Targets: 20 ms at random, 50 ms by TPE, 1 s for the ledger.
"""


def busy(found: dict[str, Any], part: int) -> float:
    """Seconds of the driver's processor time a trial, in a hundred trials."""
    ends = found["driver"]
    return float(ends[100 * part + 99] - ends[100 * part]) / 99


def grown(found: dict[str, Any]) -> float:
    """MiB by which the driver has grown from its hundredth trial to its last."""
    return float(found["driver_memory"][-1] - found["driver_memory"][99])


if __name__ == "__main__":
    print(measure(repeats()))
