"""Seconds and bytes of the pages of a run: `thaw report` and `thaw leaderboard` on ledgers written by hand.

Commands are processes of their own; next to them stands what Python takes to start and end (`python -c pass`). Paint
and figures are timed by the page's own clock in headless Chromium. Targets: 100 trials of 10 epochs in at most 3 MB,
the answer painted within 0.5 s, each figure within 1 s of being scrolled to; 2,000 trials of 50 epochs made in 15 s, in
at most 8 MB; the leaderboard of 1,000 trials within 1 s of Python's own start.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page
from setting import repeats, spread

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

from browser import chromium, opened
from report_runs import SPACE, predicted, trial
from run_records import run_record

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder

THAW = "from orchestrator.cli import main; main()"
# Milliseconds from the scroll to the frame in which the figure is shown.
UNTIL_DRAWN = """figure => new Promise(done => {
  const begun = performance.now();
  figure.scrollIntoView();
  const look = () => figure.querySelector(".drawn .main-svg") ? done(performance.now() - begun)
                                                             : requestAnimationFrame(look);
  look();
})"""


def ledger(root: Path, trials: int, epochs: int) -> Path:
    """Write a run of so many trials, the last three with predictions; returns its folder."""
    run = RunFolder(root)
    (root / "trials").mkdir(parents=True)
    Ledger(run).write_run(run_record(space=SPACE, name=f"{trials} trials"))
    for number in range(trials):
        Ledger(run).write_trial(trial(number, epochs=epochs))
    for number in range(trials - 3, trials):
        predicted(run, f"{number:04d}")
    return root


def seconds(*arguments: object) -> float:
    """Wall-clock seconds of a process of Python."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, *map(str, arguments)], check=True, capture_output=True)
    return time.perf_counter() - begun


def seen(page: Page) -> dict[str, float]:
    """Seconds until the answer is painted, and from the scroll to each figure: the first and the slowest other."""
    painted = page.evaluate("() => performance.getEntriesByType('paint').at(-1).startTime")
    page.wait_for_timeout(1000)  # a reader reads the answer first
    figures = page.locator(".figure")
    drawn = [figures.nth(number).evaluate(UNTIL_DRAWN) for number in range(figures.count())]
    return {"painted": painted / 1000, "first": drawn[0] / 1000, "others": max(drawn[1:]) / 1000}


def measure(count: int) -> str:
    """The section of the results."""
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        some, many, thousand = (
            ledger(folder / name, trials, epochs)
            for name, trials, epochs in (("some", 100, 10), ("many", 2000, 50), ("thousand", 1000, 10))
        )
        for _ in range(count):
            times = {"python": seconds("-c", "pass"), "leaderboard": seconds("-c", THAW, "leaderboard", thousand)}
            times |= {name: seconds("-c", THAW, "report", folder / name) for name in ("some", "many")}
            with chromium() as browser, opened(browser, (some / "report.html").as_uri()) as page:
                times |= seen(page.page)
            found.append(times)
        sizes = {path.name: (path / "report.html").stat().st_size / 1e6 for path in (some, many)}

    def column(name: str) -> str:
        return spread([each[name] for each in found], " s", digits=2)

    beyond = spread([each["leaderboard"] - each["python"] for each in found], " s", digits=2)
    return f"""## Pages

Ledgers written by hand: every setting of a search with a condition, predictions of three trials.

| | | target |
|---|---|---|
| `thaw report`, 100 trials of 10 epochs | {column("some")}, {sizes["some"]:.1f} MB | 3 MB |
| its answer is painted | {column("painted")} | 0.5 s |
| its first figure, from the scroll | {column("first")} | 1 s |
| the slowest of its other figures | {column("others")} | 1 s |
| `thaw report`, 2,000 trials of 50 epochs | {column("many")}, {sizes["many"]:.1f} MB | 15 s, 8 MB |
| `thaw leaderboard`, 1,000 trials, beyond Python's start ({column("python")}) | {beyond} | 1 s |
"""


if __name__ == "__main__":
    print(measure(repeats()))
