from pathlib import Path

import pytest

from search_spaces.documents import parse_yaml
from search_spaces.errors import InvalidInput
from search_spaces.presets import (
    preset_architectures,
    preset_names,
    preset_summary,
    preset_text,
    replaced_settings,
)
from search_spaces.space import SearchSpace

PRESETS = ["demo", "guide-grid", "imbalanced", "large-data", "medium-data", "quickstart", "small-data"]


def test_the_presets_are_a_part_of_the_interface() -> None:
    assert preset_names() == PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_opens_with_when_to_use_it_what_to_expect_and_a_command(name: str) -> None:
    comment = [line for line in preset_text(name).splitlines() if line.startswith("#")]
    assert preset_summary(name) and f"# {preset_summary(name)}" == comment[0]
    assert any("Expect" in line for line in comment)
    assert any(line.startswith("#   thaw ") for line in comment)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_space_without_contradictions(name: str) -> None:
    raw = parse_yaml(preset_text(name), name)
    parsed = SearchSpace.parse(raw["space"], raw["trial"])
    assert all(parsed.contains(point) for point in parsed.corners(["strategy"]))
    assert all(parsed.contains(point) for point in raw["search"].get("points", ()))


@pytest.mark.parametrize("root", ["/data/photos", "my photos: all #1", "C:\\photos", "~/bilder ü", "'", "{x}", "\\1"])
@pytest.mark.parametrize("name", [name for name in PRESETS if name != "demo"])
def test_the_folder_of_the_photos_is_written_so_that_it_is_read_back(name: str, root: str) -> None:
    assert parse_yaml(preset_text(name, root), name)["data"]["root"] == root


def test_an_unknown_preset_is_refused_with_the_closest(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="preset must be one that exists, got 'small'; did you mean small-data"):
        preset_text("small")
    with pytest.raises(InvalidInput, match="preset must be one that exists"):
        preset_text("../presets/demo")


@pytest.mark.parametrize("name", preset_names())
def test_lines_of_a_preset_can_be_replaced(name: str) -> None:
    text = replaced_settings(name, {"#": "# mine", "data": "data: 1", "  architecture": "  architecture: 2"})
    found, before = parse_yaml(text, name), parse_yaml(preset_text(name), name)
    assert text.startswith("# mine\ndata: 1\n")
    assert (found["data"], found["space"]["architecture"]) == (1, 2)
    assert {**found, "data": 0, "space": 0} == {**before, "data": 0, "space": 0}
    assert preset_architectures(name) == before["space"]["architecture"]["choice"]
