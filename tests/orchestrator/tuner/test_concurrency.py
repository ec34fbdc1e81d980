import pytest
from ray.tune.search import Searcher

from orchestrator.spec.sections import Resources
from orchestrator.tuner.concurrency import NodeLimiter, limited


class Endless(Searcher):
    def suggest(self, trial_id: str) -> dict[str, object]:
        return {}

    def on_trial_complete(self, trial_id: str, result: object = None, error: bool = False) -> None:
        pass


def test_the_limit_follows_the_nodes_and_one_more_waits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("orchestrator.tuner.concurrency.REFRESH_SECONDS", -1.0)
    fits = [0]
    limiter = NodeLimiter(Endless(), lambda: fits[0], most=100)

    def handed_out(prefix: str) -> list[str]:
        ids = []
        while limiter.suggest(f"{prefix}{len(ids)}") is not None:
            ids.append(f"{prefix}{len(ids)}")
        return ids

    first = handed_out("a")
    assert len(first) == 1, "with no node at all one trial waits, so that a cluster that scales starts one"
    fits[0] = 3
    assert len(handed_out("b")) == 3, "nodes have come"
    fits[0] = 1
    assert handed_out("c") == [], "nodes have gone: nothing new is begun"
    limiter.on_trial_complete("a0")
    limiter.on_trial_complete("b0")
    assert handed_out("d") == []
    limiter.on_trial_complete("b1")
    assert len(handed_out("e")) == 1


@pytest.mark.parametrize(
    ("concurrent", "follow", "most"),
    [(None, False, 4), (2, False, 2), (9, False, 4), (2, True, 2), (9, True, 9), (None, True, 50)],
)
def test_what_was_asked_for_is_cut_to_what_fits_only_where_nothing_can_come(
    monkeypatch: pytest.MonkeyPatch, concurrent: int | None, follow: bool, most: int
):
    monkeypatch.setattr("orchestrator.tuner.concurrency.nodes_now", lambda: [{"CPU": 4.0}])
    limiter = limited(Endless(), Resources(concurrent=concurrent), 50, follow=follow)
    assert limiter.max_concurrent == most
    assert isinstance(limiter, NodeLimiter) == (follow and concurrent is None)
