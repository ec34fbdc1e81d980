from collections.abc import Callable

from ray.tune.result import NODE_IP, PID

from orchestrator.tuner.result_filter import ResultFilter
from orchestrator.worker.assignment import Answer, read_answer
from trainables.result import TrialResult


def test_of_a_result_the_answer_and_the_place_of_its_worker_stay(trial: Callable[..., TrialResult]) -> None:
    answer = Answer(trial=trial("0000", [0.5]))
    result = {**answer.to_tune(), NODE_IP: "10.0.0.7", PID: 42, "config": {"assignment": "x"}, "time_total_s": 1.5}
    ResultFilter().on_trial_result(1, [], None, result)  # type: ignore[arg-type]
    assert result.keys() == {"trial_result", NODE_IP, PID}
    assert read_answer(result) == answer
