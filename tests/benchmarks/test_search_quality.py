"""The pages of the search benchmark say what its script would write: the limits of the figures stand on both."""

import re
from pathlib import Path

import pytest
import search_quality

PAGE = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text()


@pytest.mark.parametrize("named", ["first", "more"])
def test_the_limits_stand_on_the_page(named: str) -> None:
    page = search_quality.RESULTS[named].read_text()
    assert f"\n{search_quality.LIMITS}\n## Mean regret\n" in page
    seeds = search_quality.SEEDS_OF[named]
    assert f"--seeds {named}`: {len(seeds)} seeds per side\n({seeds[0]} to {seeds[-1]}),\n" in page


def test_the_docs_have_the_page_s_figures() -> None:
    page = search_quality.RESULTS["more"].read_text()
    (table,) = re.findall(r"(?ms)^\| \| budget 5 \| 10 \| 20 \| 40 \|\n\|.*?\n(.*?)\n\n", PAGE)
    for line in table.splitlines():
        means = [cell.split()[0] for cell in line.split("|")[2:-1]]
        pattern = "".join(rf" {re.escape(mean)} \([^|]*\) \|" for mean in means)
        assert re.search(rf"(?m)^\| [^|]* \|{pattern}$", page), line


def test_the_limits_are_those_of_the_docs() -> None:
    def figures(name: str, text: str) -> list[str]:
        (line,) = re.findall(rf"(?m)^\| {name} \|.* / .*$", text)
        return re.findall(r"\.\d+", line)

    for ours, theirs in (("Thaw", "ours"), ("Thaw without TPE", "ours without TPE"), ("stock", "stock")):
        assert figures(ours, PAGE) == figures(theirs, search_quality.LIMITS)
