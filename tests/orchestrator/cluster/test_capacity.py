import pytest

from orchestrator.cluster.capacity import check_fit, fitting, trial_bundles
from orchestrator.spec.sections import Resources
from search_spaces.errors import InvalidInput


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


NODE = {"CPU": 2.0, "memory": 1e9}


def test_trials_are_counted_with_all_their_workers_and_refused_where_none_can_fit(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for size, fits in (({}, 2), ({"workers": 2}, 1), ({"cpus_per_worker": 2}, 1)):
        resources = Resources.model_validate(size)
        assert fitting(trial_bundles(resources), [NODE]) == fits
        check_fit(resources, [NODE], grows=False)
    for too_large in ({"workers": 3}, {"cpus_per_worker": 2.5}, {"gpus_per_worker": 1}):
        resources = Resources.model_validate(too_large)
        with pytest.raises(InvalidInput, match=r"^resources: a trial must fit on this machine, got "):
            check_fit(resources, [NODE], grows=False)
        check_fit(resources, [NODE], grows=True)
    assert caplog.messages[-1].startswith("no node has room for a trial (1 CPU and 1 GPU) yet: waiting")
