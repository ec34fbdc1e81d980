"""Flat configuration: the settings of a trial under one name each, without those that do not apply, and the way back.

W&B asks for names without dots, https://docs.wandb.ai/models/track/config. So `data.root` is `data_root`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig

_SECTIONS = ("data", "objective")
_OF_THAWED_STAGES = ("norm_stats", "decay_to", "backbone_lr_factor", "stage_lr_decay", "thaw_warmup_epochs")


def _thaws(config: TrialConfig) -> bool:
    return config.strategy != "head"


# When a setting has an effect; the others always have one.
_APPLIES: Mapping[str, Callable[[TrialConfig], bool]] = {
    **dict.fromkeys(_OF_THAWED_STAGES, _thaws),
    "class_weighting": lambda config: config.balance != "none",
    "mixing_alpha": lambda config: config.mixing != "none",
    "weights_layout": lambda config: config.weights_layout != "by_name",
    **dict.fromkeys(("teacher", "teacher_weight", "teacher_temperature"), lambda config: config.teacher != "none"),
    "data_allow": lambda config: bool(config.data.allow),
    "min_delta": lambda config: config.patience is not None,
}


def flat_config(config: TrialConfig) -> dict[str, Any]:
    """Return the settings of a trial by name; one that is switched off, or has no effect here, is absent."""
    return {name: value for name, value in config.flat("_").items() if name not in _APPLIES or _APPLIES[name](config)}


def config_of(flat: Mapping[str, Any], source: str) -> TrialConfig:
    """Return the configuration with these settings; other names are ignored, absent settings have their defaults.

    Raises InvalidInput, naming `source`, where they are not those of a trial.
    """
    values: dict[str, Any] = {name: value for name, value in flat.items() if name in TrialConfig.model_fields}
    for section in _SECTIONS:
        values[section] = _below(section, flat)
    if split := _below("split", values["data"]):
        others = {name: value for name, value in values["data"].items() if not name.startswith("split_")}
        values["data"] = {**others, "split": split}
    if not values["data"] or "architecture" not in values:
        raise InvalidInput(f"{source}: must be a trial of Thaw, but its config lacks architecture or data_root")
    return TrialConfig.from_mapping(values, source)


def _below(section: str, flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a section under their own names."""
    prefix = f"{section}_"
    return {name.removeprefix(prefix): value for name, value in flat.items() if name.startswith(prefix)}
