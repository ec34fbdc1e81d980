from typing import Any

import pytest

from orchestrator.ray_runtime import workers_on
from orchestrator.spec import Resources


@pytest.mark.parametrize(
    ("node", "settings", "fits"),
    [
        ({"CPU": 4.0}, {}, 4),
        ({"CPU": 4.0}, {"cpus_per_worker": 3}, 1),
        ({"CPU": 4.0}, {"cpus_per_worker": 8}, 0),
        ({"CPU": 1.0}, {"cpus_per_worker": 0.1}, 10),
        ({"CPU": 0.3}, {"cpus_per_worker": 0.1}, 3),
        ({"CPU": 16.0, "GPU": 2.0}, {"gpus_per_worker": 1}, 2),
        ({"CPU": 16.0, "GPU": 2.0}, {"gpus_per_worker": 0.3, "cpus_per_worker": 2}, 6),
        ({"CPU": 16.0, "GPU": 2.0}, {"gpus_per_worker": 0.4}, 4),
        ({"CPU": 16.0, "GPU": 2.0}, {"gpus_per_worker": 0.1}, 16),
        ({"CPU": 16.0}, {"gpus_per_worker": 1}, 0),
        ({"memory": 1e9}, {}, 0),
    ],
)
def test_workers_fit_by_what_is_scarcest(node: dict[str, float], settings: dict[str, Any], fits: int) -> None:
    assert workers_on(node, Resources.model_validate(settings)) == fits
