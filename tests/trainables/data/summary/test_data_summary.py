import json
from collections.abc import Callable
from pathlib import Path

from trainables.config import TrialConfig
from trainables.data.arrays import load_arrays
from trainables.data.stats import channel_stats
from trainables.data.summary.data_summary import summarize
from trainables.data.summary.image_sizes import read_sizes


def test_a_summary_is_one_json_document(trial_config: Callable[..., TrialConfig], cache_dir: Path) -> None:
    data = trial_config().data
    arrays = load_arrays(data, cache_dir)
    found = json.loads(json.dumps(summarize(arrays, data, read_sizes(arrays.dataset)).to_json()))
    assert found["images"] == {split: len(own) for split, own in arrays.dataset.splits.items()}
    assert [each["label"] for each in found["classes"]] == ["0", "1", "2"]
    assert sum(each["images"]["val"] for each in found["classes"]) == found["images"]["val"]
    mean, std = channel_stats(arrays.splits["train"].images)
    assert (found["pixels"]["mean"], found["pixels"]["std"]) == ([*mean], [*std])
    assert found["pixels"]["image_size"] == 32
    assert found["sizes"]["width"]["median"] == found["sizes"]["shorter"]["median"] == 32
    assert summarize(arrays, data, None).to_json()["sizes"] is None
    assert found["folds"] is None
