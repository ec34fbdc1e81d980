import pytest
from ray.tune.search import Searcher

from orchestrator.capacity import NodeLimiter, fitting, limited
from orchestrator.sections import Resources


@pytest.mark.parametrize(
    ("bundles", "nodes", "count"),
    [
        ([{"CPU": 1, "GPU": 0}], [{"CPU": 4}], 4),
        ([{"CPU": 2, "GPU": 0}], [{"CPU": 1}, {"CPU": 1}], 0),  # a bundle is never divided among nodes
        ([{"CPU": 2, "GPU": 0}], [{"CPU": 3}, {"CPU": 5}], 3),
        ([{"CPU": 1, "GPU": 1}], [{"CPU": 8}, {"CPU": 8, "GPU": 2}], 2),
        ([{"CPU": 1, "GPU": 0.1}], [{"CPU": 16, "GPU": 1}], 10),  # ten tenths are one
        ([{"CPU": 1}, {"CPU": 1}], [{"CPU": 1}, {"CPU": 1}, {"CPU": 1}], 1),
        ([{"CPU": 1}, {"CPU": 2}], [{"CPU": 2}, {"CPU": 2}], 1),
        ([{"CPU": 1}], [], 0),
        ([{"CPU": 0.1}], [{"CPU": 0.3}], 3),
        ([{"CPU": 2, "GPU": 0.3}], [{"CPU": 16, "GPU": 2}], 6),  # a fraction is of one GPU: two rests are no third
        ([{"CPU": 1, "GPU": 0.4}], [{"CPU": 16, "GPU": 2}], 4),
        ([{"CPU": 1}], [{"memory": 1e9}], 0),
    ],
)
def test_whole_trials_are_counted_node_by_node(
    bundles: list[dict[str, float]], nodes: list[dict[str, float]], count: int
):
    assert fitting(bundles, nodes) == count


class Endless(Searcher):
    def suggest(self, trial_id: str) -> dict[str, object]:
        return {}

    def on_trial_complete(self, trial_id: str, result: object = None, error: bool = False) -> None:
        pass


def test_the_limit_follows_the_nodes_and_one_more_waits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("orchestrator.capacity.REFRESH_SECONDS", -1.0)
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
    monkeypatch.setattr("orchestrator.capacity.nodes_now", lambda: [{"CPU": 4.0}])
    limiter = limited(Endless(), Resources(concurrent=concurrent), 50, follow=follow)
    assert limiter.max_concurrent == most
    assert isinstance(limiter, NodeLimiter) == (follow and concurrent is None)
