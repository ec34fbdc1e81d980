"""Cost of the dashboard for a sweep: CPU seconds of the driver with ten open pages and without, and the pages' delay.

The sides alternate within each repeat and begin it in turn; every side is a process of its own with empty caches. The
trials are over in about a second each, so this is close to the worst case. Targets: a tenth of a core at most for the
dashboard, and three seconds from a record to the page.
"""

import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from setting import child, ratios, repeats, spread, write_json
from trivial_trials import digits_sweep

from trainables.data.digits import write_digits

PAGES = 10
TRIALS = 40
ROW = re.compile(r"<td>(\d{4,})</td><td>(COMPLETED|PRUNED|FAILED)</td>")


class Page:
    """Page: asks for the part of a run each second, as an open page does."""

    def __init__(self, address: str, first_seen: dict[str, float], closed: threading.Event) -> None:
        self._address = address
        self._seen = first_seen
        self._tag = ""
        self._closed = closed

    def follow(self) -> None:
        """Ask until the page is closed; note when each ended trial is there for the first time."""
        while not self._closed.wait(1):
            request = urllib.request.Request(self._address, headers={"If-None-Match": self._tag})
            try:
                with urllib.request.urlopen(request) as answer:
                    self._tag, text = answer.headers["ETag"], answer.read().decode()
            except urllib.error.HTTPError as error:  # 304, or the run has not begun
                error.close()
                continue
            for trial, _ in ROW.findall(text):
                self._seen.setdefault(trial, time.time())


@contextmanager
def open_pages(runs: Path, name: str) -> Iterator[dict[str, Any]]:
    """Run a dashboard with ten open pages; yields what it measures, which is complete after the block."""
    found: dict[str, Any] = {}
    command = [sys.executable, "-c", "from orchestrator.cli import main; main()", "dashboard", str(runs), "--port", "0"]
    closed, seen = threading.Event(), [dict[str, float]() for _ in range(PAGES)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        address = f"{process.stderr.readline().split()[0]}runs/{name}/part"
        threads = [threading.Thread(target=Page(address, each, closed).follow) for each in seen]
        begun, before = time.perf_counter(), sum(psutil.Process(process.pid).cpu_times()[:2])
        for thread in threads:
            thread.start()
        try:
            yield found
        finally:
            time.sleep(5)  # the last records reach the pages
            used = sum(psutil.Process(process.pid).cpu_times()[:2]) - before
            closed.set()
            for thread in threads:
                thread.join()
            process.terminate()
    found["share"] = 100 * used / (time.perf_counter() - begun)
    written = {path.stem: path.stat().st_mtime for path in (runs / name / "trials").glob("[0-9]*.json")}
    found["delays"] = [times[trial] - written[trial] for times in seen for trial in written]


def measure(count: int) -> str:
    """The section of the results."""
    found: dict[str, list[dict[str, Any]]] = {"none": [], "ten": []}
    watched: list[dict[str, Any]] = []
    for number in range(count):
        for side in sorted(found, reverse=number % 2 == 1):
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary)
                write_digits(folder / "digits", dict.fromkeys(range(10), 0.06))
                sweep = digits_sweep(folder, TRIALS, "random")
                file = write_json(folder / "sweep.yaml", sweep)
                (folder / "runs").mkdir(exist_ok=True)
                if side == "none":
                    found[side].append(child("thaw_sweep.py", file, side))
                    continue
                with open_pages(folder / "runs", sweep["name"]) as pages:
                    found[side].append(child("thaw_sweep.py", file, side))
                watched.append(pages)
    rows = []
    for side, title in (("none", "no dashboard"), ("ten", f"a dashboard with {PAGES} open pages")):
        seconds, driver = [each["seconds"] for each in found[side]], [each["driver"][-1] for each in found[side]]
        rows.append(f"| {title} | {spread(seconds)} | {spread(driver)} |")
    table = "\n".join(rows)
    cpu = ratios(*([each["driver"][-1] for each in found[side]] for side in ("ten", "none")))
    delays = [delay for pages in watched for delay in pages["delays"]]
    return f"""## Dashboard

{TRIALS} trivial trials, with and without a dashboard whose {PAGES} pages follow the run.

| | seconds | CPU seconds of the driver |
|---|---|---|
{table}

CPU seconds of the driver with pages over those without: {spread(cpu, digits=2)}. The dashboard takes
{spread([pages["share"] for pages in watched], " %")} of a core (target: 10 %). From the last record of a trial to the
page: {spread(delays, " s")} (target: 3 s).
"""


if __name__ == "__main__":
    print(measure(repeats()))
