from collections.abc import Callable

from ray.tune import PlacementGroupFactory
from ray.tune.experiment import Trial
from ray.tune.result import NODE_IP, PID, TRIAL_ID

from orchestrator.tuner.result_filter import ResultFilter
from orchestrator.worker.assignment import Answer, read_answer
from trainables.result import TrialResult


def test_of_a_result_the_answer_and_the_place_of_its_worker_stay(trial: Callable[..., TrialResult]) -> None:
    answer = Answer(trial=trial("0000", [0.5]))
    result = {**answer.to_tune(), NODE_IP: "10.0.0.7", PID: 42, "config": {"assignment": "x"}, "time_total_s": 1.5}
    ResultFilter().on_trial_result(1, [], None, result)  # type: ignore[arg-type]
    assert result.keys() == {"trial_result", NODE_IP, PID}
    assert read_answer(result) == answer


def test_of_an_ended_trial_next_to_nothing_stays(trial: Callable[..., TrialResult]) -> None:
    """Neither the assignment, which Tune holds under several names, nor the last answer."""
    answer, placement = Answer(trial=trial("0000", [0.5])).to_tune(), PlacementGroupFactory([{"CPU": 1}])
    kept, ended = ResultFilter(), list[Trial]()
    for number in range(2):
        text = f"assignment {number} " * 100
        params = {"assignment": text}
        made = Trial("name", config=params, evaluated_params=dict(params), experiment_tag=f"1_{text}", stub=True)
        made.placement_group_factory = PlacementGroupFactory([{"CPU": 1}])
        made.update_last_result({**answer, PID: 42})
        assert text in str(made.get_json_state())
        kept.on_trial_complete(1, [], made)
        ended.append(made)
    for made in ended:
        held = [vars(made), vars(made.run_metadata), made.get_json_state()]
        assert all(text not in str(each) for each in held for text in ("assignment 0", "assignment 1", "val/macro_f1"))
        assert made.last_result.keys() == {"trial_result", TRIAL_ID}
        assert made.placement_group_factory == placement
    assert ended[0].placement_group_factory is ended[1].placement_group_factory


def test_of_a_trial_whose_process_died_no_more_stays() -> None:
    made = Trial("name", config={"assignment": "text"}, stub=True)
    ResultFilter().on_trial_error(1, [], made)
    assert "text" not in str(vars(made))
