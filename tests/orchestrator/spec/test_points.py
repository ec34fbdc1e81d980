from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from orchestrator.spec.points import Points, Settings
from search_spaces.errors import InvalidInput
from search_spaces.none_and_auto import OrNone
from search_spaces.validation import parse


class File(BaseModel):
    trial: Settings = {}
    points: OrNone[Points] = None


def read(base: Path, **values: Any) -> File:
    return parse(File, values, "file", base=base)


@pytest.mark.parametrize(
    ("given", "resolved"),
    [
        ({"lr": 1, "weights": "w.pt"}, {"lr": 1, "weights": "/b/w.pt"}),
        ({"weights": "none"}, {"weights": "none"}),
        ({"weights": {"choice": ["pretrained", "w.pt"]}}, {"weights": {"choice": ["pretrained", "/b/w.pt"]}}),
        (
            {"lr": [{"log": [1, 2], "when": {"weights": "w.pt"}}]},
            {"lr": [{"log": [1, 2], "when": {"weights": "/b/w.pt"}}]},
        ),
        ({"architecture": "w.pt", "weights": 3}, {"architecture": "w.pt", "weights": 3}),
    ],
)
def test_the_paths_among_settings_are_resolved(given: dict[str, Any], resolved: dict[str, Any]) -> None:
    assert read(Path("/b"), trial=given).trial == resolved
    assert read(Path("/b"), points=[given]).points == [resolved]


def test_points_may_stand_in_a_file_beside(tmp_path: Path) -> None:
    (tmp_path / "points.yaml").write_text("- {lr: 1e-3, weights: w.pt}")
    assert read(tmp_path, points="points.yaml").points == [{"lr": 1e-3, "weights": str(tmp_path / "w.pt")}]
    assert read(tmp_path, points="none").points is None
    (tmp_path / "points.yaml").write_text("lr: 1e-3")
    with pytest.raises(InvalidInput, match=r"^search\.points: .*points\.yaml must hold a list of points, e\.g\. "):
        read(tmp_path, points="points.yaml")


def test_an_address_is_no_weights_file() -> None:
    with pytest.raises(InvalidInput, match=r"^file: trial\.weights: must be a path of this machine, got 's3://b/w'"):
        read(Path("/b"), trial={"weights": "s3://b/w"})
