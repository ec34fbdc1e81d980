from collections.abc import Callable
from pathlib import Path

import numpy as np

from trainables.config import TrialConfig
from trainables.data.arrays import load_arrays
from trainables.data.node_cache import NodeCache
from trainables.estimate.linear_probe import linear_probe
from trainables.estimate.probe_scores import one_hot, score_probes


def test_scores_are_those_of_the_probes(trial_config: Callable[..., TrialConfig], cache_dir: Path) -> None:
    configs = [trial_config(architecture=name) for name in ("test_efficientnet", "test_resnet")]
    configs.append(trial_config(architecture="vit_tiny_patch16_224"))
    arrays, begun = load_arrays(configs[0].data, cache_dir), list[str]()
    found = score_probes(configs, arrays, NodeCache(cache_dir), begun.append)
    assert begun == [config.architecture for config in configs]
    assert [*found.faults] == ["vit_tiny_patch16_224"]
    assert "data.image_size must be 224" in found.faults["vit_tiny_patch16_224"]
    expected = {config.architecture: linear_probe(config, cache_dir).objective for config in configs[:2]}
    assert {score.architecture: score.macro_f1 for score in found.scores} == expected
    assert [score.macro_f1 for score in found.scores] == sorted(expected.values(), reverse=True)
    assert found.scores[0].is_level
    for score in found.scores:
        assert score.interval.low <= score.macro_f1 <= score.interval.high
        assert (score.images, score.seconds > 0) == (18, True)


def test_predictions_become_rows() -> None:
    assert np.array_equal(one_hot(["b", "a", "b"], ["a", "b", "c"]), [[0, 1, 0], [1, 0, 0], [0, 1, 0]])
