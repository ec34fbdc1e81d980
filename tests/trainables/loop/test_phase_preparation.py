"""One phase at a time; over boundaries, on several ranks and against uncached trials: tests/contracts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from trainables.config import TrialConfig
from trainables.data.arrays import load_arrays
from trainables.data.node_cache import NodeCache
from trainables.loop.batches import Batches, TrialBatches
from trainables.loop.phase_preparation import PhasePreparation
from trainables.model.build import build_model
from trainables.model.freeze import set_trainable
from trainables.model.freeze_plan import freeze_plan
from trainables.model.stages import stage_table

pytestmark = pytest.mark.usefixtures("one_thread")

MEAN = (0.5, 0.5, 0.5)
Prepared = Callable[..., tuple[PhasePreparation, Any]]


@pytest.fixture
def prepared(trial_config: Callable[..., TrialConfig], tmp_path: Path, cache_dir: Path) -> Prepared:
    """The first phase of a trial, prepared."""

    def prepare(budget: int | None = None, **settings: Any) -> tuple[PhasePreparation, Any]:
        config = trial_config(**settings)
        arrays, cpu = load_arrays(config.data, cache_dir), torch.device("cpu")
        train, val = (Batches(config, arrays.splits[name], MEAN, MEAN, cpu) for name in ("train", "val"))
        images = TrialBatches(train, val, arrays.fingerprints.stored)
        model = build_model(config, 3)
        set_trainable(model, stage_table(model).trainable(freeze_plan(config).stages_at(0)))
        cache = NodeCache(tmp_path / "cache", budget)
        phase = PhasePreparation(config, model, Accelerator(cpu=True), images, cache, [])
        phase.prepare(torch.optim.SGD(model.parameters(), lr=0.1), 0)
        return phase, model

    return prepare


def test_a_frozen_phase_trains_what_is_behind_the_cut(prepared: Prepared) -> None:
    phase, model = prepared(strategy="head")
    assert phase.features is not None
    assert phase.part is not model
    assert len(phase.features.val) == 18
    assert {id(p) for p in phase.part.parameters() if p.requires_grad} == {
        id(p) for p in model.get_classifier().parameters()
    }
    assert phase.notes == []


@pytest.mark.parametrize("settings", [{"strategy": "full"}, {"strategy": "head", "feature_views": 0}])
def test_else_the_whole_model_trains(settings: dict[str, Any], prepared: Prepared) -> None:
    phase, model = prepared(**settings)
    assert (phase.features, phase.part, phase.notes) == (None, model, [])


def test_where_features_have_no_room_a_note_says_so(prepared: Prepared) -> None:
    phase, model = prepared(strategy="head", budget=0)
    assert (phase.features, phase.part) == (None, model)
    (note,) = phase.notes
    assert note.startswith("features are not cached: ")
    assert note.endswith("of them do not fit into the node's cache")


def test_a_phase_that_is_prepared_again_replaces_the_last(prepared: Prepared) -> None:
    phase, model = prepared(strategy="head")
    set_trainable(model, stage_table(model).trainable("all"))
    phase.config = phase.config.model_copy(update={"feature_views": 0})
    phase.prepare(torch.optim.SGD(model.parameters(), lr=0.1), 0)
    assert phase.part is model
    # Private, because Accelerate has no public count of what it prepared.
    assert (len(phase.accelerator._models), len(phase.accelerator._optimizers)) == (1, 1)
