import time

import pytest

from orchestrator.serve.live_part import LivePart
from orchestrator.serve.refresher import Refresher


def test_a_part_is_renewed_once_per_interval_for_all(refresher: Refresher) -> None:
    made: list[str] = []

    def renew() -> str:
        made.append(f"text {len(made)}")
        return made[-1]

    part = LivePart(refresher, renew, interval=0.2)
    first = part.current()
    assert first.text == "text 0"
    assert {part.current().tag for _ in range(10)} == {first.tag}
    time.sleep(0.2)
    assert part.current().text == "text 1"
    assert len(made) == 2


def test_equal_texts_have_one_tag(refresher: Refresher) -> None:
    part = LivePart(refresher, lambda: "same", interval=0)
    assert part.current().tag == part.current().tag
    part.put("\udcff")
    assert part.current().tag.startswith('"')


def test_a_slow_renewal_is_not_waited_for_and_an_error_is_raised(refresher: Refresher) -> None:
    seconds = [0.8, 0.0]

    def renew() -> str:
        time.sleep(seconds.pop())
        return f"{len(seconds)} are left"

    part = LivePart(refresher, renew, interval=0)
    assert part.current().text == "1 are left"
    assert part.current().text == "1 are left"
    time.sleep(0.5)
    with pytest.raises(IndexError):
        part.current()
