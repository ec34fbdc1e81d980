"""Phase preparation: the part of the model that trains while the same stages are thawed, ready for all workers."""

import logging

import torch
from accelerate import Accelerator
from torch import nn

from trainables.config import TrialConfig
from trainables.data.node_cache import NodeCache
from trainables.fixed_views import fixed_views
from trainables.loop.batches import TrialBatches
from trainables.loop.feature_training import CannotCache, PhaseFeatures, open_features
from trainables.model.freeze_plan import freeze_plan

log = logging.getLogger(__name__)


class PhasePreparation:
    """The model of the current phase as Accelerate prepared it: whole, or what is behind the cut of its features."""

    def __init__(
        self,
        config: TrialConfig,
        model: nn.Module,
        accelerator: Accelerator,
        images: TrialBatches,
        cache: NodeCache,
        notes: list[str],
    ) -> None:
        """`notes` is where the leaderboard's notes are added."""
        self.config = config
        self.model = model
        self.accelerator = accelerator
        self.images = images
        self.cache = cache
        self.notes = notes
        self.plan = freeze_plan(config)
        self.features: PhaseFeatures | None = None
        """Features that are trained on instead of images; None where images are."""
        self.part: nn.Module = model
        """Part that trains: the model, or its layers behind the cut."""
        self.prepared: nn.Module = model
        """Same part, wrapped by Accelerate."""

    def prepare(self, optimizer: torch.optim.Optimizer, epoch: int) -> None:
        """Prepare what trains from `epoch` on: the model anew, so that thawed gradients are reduced over the workers.

        Where the phase's features can be cached, they are computed or opened, and only what is behind them trains.
        """
        # With mixed precision, `forward` would be wrapped in autocast once more; and a model that keeps the mark of its
        # preparation is not prepared again.
        self.accelerator.unwrap_model(self.prepared, keep_fp32_wrapper=False)
        vars(self.model).pop("_is_accelerate_prepared", None)
        # `free_memory` does the same, and then waits for the garbage collector.
        self.accelerator._models.clear()
        self.accelerator._optimizers.clear()
        self.features = self._features(epoch)
        self.part = self.model if self.features is None else self.features.cut.suffix(self.model)
        if self.features is None:
            self.images.keep()
        if self.config.compile:
            self.part.compile()
        self.prepared = self.accelerator.prepare(self.part)
        self.prepared_optimizer = self.accelerator.prepare(optimizer)

    def _features(self, epoch: int) -> PhaseFeatures | None:
        """Return the features for the phase of `epoch`, or None; with a note where there should have been some."""
        stages = self.plan.stages_at(epoch)
        if stages == "all" or not fixed_views(self.config):
            return None
        found, reason = None, "another worker has no room for them"
        rest = [later for later in range(epoch, self.config.epochs) if self.plan.stages_at(later) == stages]
        try:
            found = open_features(
                self.config, self.model, stages, rest, self.images, self.cache, self.accelerator.autocast
            )
        except CannotCache as error:
            reason = str(error)
        # Ranks that train different parts of a model would wait for each other for ever.
        ready = self.accelerator.reduce(torch.tensor(float(found is not None), device=self.images.device), "sum")
        if ready.item() == self.accelerator.num_processes:
            return found
        log.warning("features are not cached: %s; the backbone is run in every epoch", reason)
        if epoch == self.plan.since_boundary(epoch):
            self.notes.append(f"features are not cached: {reason}")
        return None
