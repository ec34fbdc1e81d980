"""Cost of an exported model: measurements of `thaw benchmark`, kept beside it and shown on its card."""

import json
import re
from collections.abc import Sequence

from analysis.run_folder import RunFolder
from analysis.run_store import write_atomically
from analysis.text_tables import markdown_table
from search_spaces.user_files import RECORD
from trainables.bundle.benchmark import Measurement
from trainables.bundle.cpu import cpu_features
from trainables.bundle.variant import BENCHMARK_FILE, CARD_FILE
from trainables.storage.place import Place, read_place

_SECTION = re.compile(r"## Cost\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_COLUMNS = ("model", "runtime", "threads", "batch", "p50 ms", "p95 ms", "p99 ms", "images/s", "memory MB", "size MB")


def keep_measurements(run: RunFolder, measurements: Sequence[Measurement]) -> None:
    """Write measurements of the exported winner beside it, and as a section of its card, in place of older ones."""
    record = {
        "cpu": cpu_features(),
        "measurements": [{**each.to_json(), "model": _file_name(each.model)} for each in measurements],
    }
    write_atomically(run.export / BENCHMARK_FILE, json.dumps(record, indent=1))
    card = run.export / CARD_FILE
    if card.is_file():
        text = _SECTION.sub("", read_place(card, RECORD).decode("utf-8", "replace"))
        before, limits, after = text.partition("## Limits")
        write_atomically(card, f"{before.rstrip()}\n\n{_section(measurements)}\n\n{limits}{after}")


def _section(measurements: Sequence[Measurement]) -> str:
    cpu = cpu_features()
    rows = [
        [
            *(_file_name(each.model), each.runtime, each.threads if each.device == "CPU" else each.device, each.batch),
            *(f"{seconds * 1000:.3g}" for seconds in (each.p50, each.p95, each.p99)),
            *(f"{each.images_per_second:.3g}", f"{each.memory / 1e6:.0f}", f"{each.size / 1e6:.1f}"),
        ]
        for each in measurements
    ]
    where = f"{cpu['name']} ({cpu['instruction_sets']})"
    return f"## Cost\n\nFrom pixels in memory to logits, on {where}.\n\n{markdown_table(_COLUMNS, rows)}"


def _file_name(model: Place | str) -> str:
    return str(model).rpartition("/")[2]
