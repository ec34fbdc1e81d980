"""The page of a run as a reader has it: in a real browser, with scripts and without."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import chromium, opened
from playwright.sync_api import Browser, expect
from report_runs import FIGURES, HOSTILE, SPACE, predicted, trial
from run_records import run_record

from analysis.ledger import Ledger
from analysis.report.page import write_page
from analysis.report.panel import RunData
from analysis.run_folder import RunFolder

PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of a page whose run has all figures, and hostile names."""
    run = RunFolder(tmp_path_factory.mktemp("run"))
    assert isinstance(run.root, Path) and isinstance(run.report_html, Path)
    run.trials.mkdir()
    Ledger(run).write_run(run_record(space=SPACE, name=HOSTILE))
    for number in range(24):
        made = trial(number)
        named = {**made.parameters, HOSTILE: HOSTILE if number % 2 else "plain"}
        Ledger(run).write_trial(made.model_copy(update={"parameters": named}))
    for name in ("0023", "0022", "0021"):
        predicted(run, name, HOSTILE)
    write_page([RunData.of(run)], run.report_html)
    return run.report_html.as_uri()


def test_every_figure_is_drawn_when_it_is_scrolled_to(browser: Browser, page: str) -> None:
    with opened(browser, page) as seen:
        figures = seen.page.locator(".figure")
        assert figures.count() == len(FIGURES)
        for number in range(len(FIGURES)):
            figures.nth(number).scroll_into_view_if_needed()
            expect(figures.nth(number).locator(".drawn .main-svg").first).to_be_visible(timeout=20_000)
            expect(figures.nth(number).locator(".picture")).to_be_hidden()
        assert seen.page.locator("h1").text_content() == HOSTILE.replace("\x07", "\ufffd")
    assert seen.said == []
    assert [url for url in seen.asked if not url.startswith(("data:", "blob:"))] == [page], "nothing is fetched"


def test_the_table_is_sorted_and_filtered(browser: Browser, page: str) -> None:
    with opened(browser, page) as seen:
        table = seen.page.locator("table").first
        first = table.locator("tbody tr").first.locator("td")
        heads = table.locator("th")
        assert first.nth(1).text_content() == "0023"
        heads.filter(has_text="val/macro_f1").click()
        assert first.nth(1).text_content() == "0000", "the smallest first"
        heads.filter(has_text="val/macro_f1").click()
        assert first.nth(1).text_content() == "0023"
        heads.filter(has_text="architecture").click()
        assert table.locator("tbody tr").first.text_content().count("resnet18") == 1  # type: ignore[union-attr]
        seen.page.get_by_role("searchbox").fill("vgg16 progressive")
        assert table.locator("tbody tr:visible").count() == 6
        seen.page.get_by_role("searchbox").fill("")
        assert table.locator("tbody tr:visible").count() == 24


@pytest.mark.parametrize("context", [{"viewport": PHONE}, {"viewport": PHONE, "color_scheme": "dark"}])
def test_nothing_is_wider_than_a_phone(browser: Browser, page: str, context: dict[str, object]) -> None:
    with opened(browser, page, **context) as seen:
        seen.page.locator(".figure").last.scroll_into_view_if_needed()
        expect(seen.page.locator(".figure").last.locator(".drawn .main-svg").first).to_be_visible(timeout=20_000)
        box = seen.page.locator("main").bounding_box()
        assert box is not None and box["width"] <= PHONE["width"]
        color = seen.page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
        assert color == ("rgb(15, 19, 24)" if "color_scheme" in context else "rgb(255, 255, 255)")


def test_without_scripts_everything_can_be_read(browser: Browser, page: str) -> None:
    with opened(browser, page, java_script_enabled=False) as seen:
        assert seen.page.locator(".lead").first.is_visible()
        assert seen.page.locator("table").first.locator("tbody tr:visible").count() == 24
        pictures = seen.page.locator(".picture")
        assert pictures.count() == len(FIGURES)
        for picture in pictures.all():
            box = picture.bounding_box()
            assert box is not None and box["height"] > 100, "an image that cannot be read has no height"
    assert seen.said == []


def test_a_printed_page_has_pictures_in_place_of_what_was_never_scrolled_to(browser: Browser, page: str) -> None:
    with opened(browser, page) as seen:
        seen.page.locator(".figure").first.scroll_into_view_if_needed()
        expect(seen.page.locator(".figure.done")).to_have_count(1, timeout=20_000)
        seen.page.emulate_media(media="print")
        for picture in seen.page.locator(".picture").all():
            assert picture.is_visible()
        assert seen.page.locator(".drawn:visible").count() == 0
        assert not seen.page.get_by_role("searchbox").is_visible()
