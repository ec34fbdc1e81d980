from orchestrator.spec.sections import Resources
from orchestrator.tuner.tuner import placement


def test_a_trial_reserves_what_its_workers_need_and_nothing_else() -> None:
    alone = placement(Resources(cpus_per_worker=2))
    assert (alone.bundles, alone.head_cpus) == ([{"CPU": 2}], 2)
    three = placement(Resources(workers=3, cpus_per_worker=2, placement="spread"))
    assert (three.bundles, three.head_cpus, three.strategy) == ([{"CPU": 2}] * 3, 0, "SPREAD")
