"""Memory and seconds of one more worker on a node, which is forked from a process with the imports, or imports itself.

Four workers are started one after another on an idle machine, and each trains one epoch of timm's smallest EfficientNet
on 74 digits. Targets for the last of them: at most 250 MiB of its own, and one second until it can train.
"""

from typing import Any

from setting import child, ratios, repeats, spread


def measure(count: int) -> str:
    """The section of the results."""
    found: dict[str, list[dict[str, Any]]] = {"forked": [], "imported": []}
    for _ in range(count):
        for kind, runs in found.items():
            runs.append(child("start_workers.py", kind))
    rows = []
    for kind, runs in found.items():
        first = spread([run["workers"][0]["seconds"] for run in runs])
        further = spread([run["seconds"] for run in runs], digits=2)
        own, total = (spread([run[key] for run in runs], digits=0) for key in ("own", "total"))
        rows.append(f"| {kind} | {first} | {further} | {own} | {total} |")
    times, own, total = (
        spread(ratios([run[key] for run in found["imported"]], [run[key] for run in found["forked"]]))
        for key in ("seconds", "own", "total")
    )
    table = "\n".join(rows)
    return f"""## One more worker

| packages | first worker, s | fourth worker, s | its own memory, MiB | all four, MiB |
|---|---|---|---|---|
{table}
| imported / forked | | {times} | {own} | {total} |
| target | | 1 | 250 | |

Seconds from the creation of the actor until its trial can train. Memory after one epoch, of the actor and of the forked
process together, without what they share with others; of all four with what they share, and with the process that
they are forked from.
"""


if __name__ == "__main__":
    print(measure(repeats()))
