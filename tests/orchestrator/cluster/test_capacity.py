import pytest

from orchestrator.cluster.capacity import fitting


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
