"""Does a worker grow with the number of trials it has run? Resident memory after its trials 5 and 60."""

import tempfile
from pathlib import Path

from setting import child, repeats, spread, write_json
from trivial_trials import digits_sweep

from trainables.data.digits import write_digits

EARLY, LATE = 5, 60


def measure(count: int) -> str:
    """The section of the results."""
    early, late, peak = [], [], []
    for _ in range(count):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            write_digits(folder / "digits", dict.fromkeys(range(10), 0.06))
            sweep = digits_sweep(folder, LATE, "random") | {"resources": {"concurrent": 1}}
            memory = child("thaw_sweep.py", write_json(folder / "sweep.yaml", sweep), "memory")["memory"]
        early.append(memory[EARLY - 1])
        late.append(memory[-1])
        peak.append(max(memory))
    growth = [after - before for before, after in zip(early, late, strict=True)]
    return f"""## Memory of a worker

Trivial trials, one at a time in one process: {spread(early, " MiB", 0)} after trial {EARLY}, {spread(late, " MiB", 0)}
after trial {LATE}, {spread(peak, " MiB", 0)} at most; growth {spread(growth, " MiB")}.
"""


if __name__ == "__main__":
    print(measure(repeats()))
