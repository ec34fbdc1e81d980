"""The page as a reader without scripts has it, and what it hands to a browser with them."""

import base64
import gzip
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from plotly.offline import get_plotlyjs
from report_runs import FIGURES, HOSTILE, trial

from analysis.ledger import Ledger
from analysis.report.page import render_page, write_page
from analysis.report.panel import RunData
from analysis.run_folder import RunFolder


class Reader(HTMLParser):
    """The texts of the page by tag, without styles and scripts, and the attributes that could fetch something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: dict[str, list[str]] = {}
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.fetched: list[str] = []
        self.pictures: list[str] = []
        self.open: list[str] = []
        self.given: dict[str, str | None] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        addresses = [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]
        self.fetched += [address for address in addresses if not address.startswith("data:image/")]
        self.pictures += [unquote(address) for address in addresses if address.startswith("data:image/")]
        self.open.append(tag)
        self.given = dict(attrs)
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def figures(self) -> list[dict[str, Any]]:
        packed = [text for given, text in self.scripts if given == {"type": "text/plain"}]
        return [json.loads(gzip.decompress(base64.b64decode(text))) for text in packed]

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append((self.given, data))
        elif self.open:
            self.texts[self.open[-1]][-1] += data


def test_everything_stands_in_one_file(run: RunFolder) -> None:
    reader = Reader(render_page([RunData.of(run)]))
    assert reader.fetched == []
    (lead, *_) = [text for text in reader.texts["p"] if text]
    assert lead.startswith("vgg16 with strategy progressive leads")
    assert len(reader.texts["tr"]) == 27 + 5, "a row for each trial and for each model with its strategy, and two heads"
    titles = reader.texts["th"]
    assert titles[:5] == ["rank", "trial", "status", "val/macro_f1", "epoch"]
    assert reader.texts["td"][:4] == ["1", "0023", "COMPLETED", "0.7944"]
    assert len(reader.figures()) == len(reader.pictures) == len(FIGURES)
    assert all({"data", "layout"} <= figure.keys() for figure in reader.figures())
    assert "val/macro_f1" in reader.pictures[0], "also without scripts"
    assert reader.texts["figcaption"] == ["cat, taken for dog (50 %)", "cat; 3 of 3 trials say otherwise"]
    (packed,) = [text for given, text in reader.scripts if given.get("id") == "library"]
    assert gzip.decompress(base64.b64decode(packed)).decode() == get_plotlyjs()


def test_names_are_text(empty: RunFolder) -> None:
    for number in range(4):
        given = trial(number)
        parameters = {**given.parameters, HOSTILE: HOSTILE if number % 2 else "</script><b>x"}
        Ledger(empty).write_trial(given.model_copy(update={"parameters": parameters}))
    Ledger(empty).update_run(name=HOSTILE)
    page = render_page([RunData.of(empty)])
    assert "<b>" not in page
    assert "alert(1)</script>" not in page
    reader = Reader(page)
    assert reader.texts["h1"] == [HOSTILE.replace("\x07", "\ufffd")]
    assert len(reader.figures()) == len(reader.pictures) == 9
    assert not any("<b>" in picture or "<script" in picture for picture in reader.pictures)


def test_a_hundred_trials_take_three_megabytes(empty: RunFolder) -> None:
    for number in range(100):
        Ledger(empty).write_trial(trial(number, epochs=20))
    write_page([RunData.of(empty)], empty.report_html)
    assert isinstance(empty.report_html, Path)
    assert empty.report_html.stat().st_size < 3_000_000


def test_several_runs_share_a_page(run: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(str(run.root), tmp_path / "copy")
    page = render_page([RunData.of(run), RunData.of(str(tmp_path / "copy"))])
    assert len(re.findall("<article>", page)) == 3
    assert "What each search had found" in page
    assert page.count('id="library"') == 1


def test_a_run_without_trials_has_a_page(empty: RunFolder) -> None:
    reader = Reader(render_page([RunData.of(empty)]))
    assert "No trial has completed yet." in reader.texts["p"]
