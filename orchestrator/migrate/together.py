"""Keys of an old configuration that work together, as the one setting of Thaw that they mean."""

from collections.abc import Callable
from pathlib import PurePath

from orchestrator.migrate.found import FoundValues, short_value
from orchestrator.migrate.freezing import freezing, whole_number
from orchestrator.migrate.layers import LayerStages, count_stages, stages_behind, trained_stages
from orchestrator.migrate.values import UnknownValue
from search_spaces.errors import InvalidInput

# Defaults of timm's training script, and of the paper of the focal loss.
_EMA_DECAY = 0.9998
_FOCAL_GAMMA = 2.0
_FREEZING = ["phases", "unfreeze_at", "frozen_epochs", "freeze", "thawed", "strategy"]


def merge_settings(found: FoundValues, locate: Callable[[str], str]) -> None:
    """Replace the values of keys that work together by Thaw's settings; `locate` names a path in the new file.

    Raises InvalidInput when two keys disagree, and when both answers to imbalance are on.
    """
    _weights(found)
    _loss(found)
    _balance(found)
    _early_stopping(found)
    _rates(found)
    _freezing(found)
    _backbone_lr(found)
    _clipping(found)
    _ema(found)
    _mixing(found)
    if found.take("no_augmentation"):
        found.put("augmentation", "none", found.keys["no_augmentation"])
    _data(found, locate)
    classes = found.take("classes")
    if classes is not None:
        found.notes.append(f"{found.keys['classes']}: {classes} is left out: Thaw counts the classes of the data")


def _weights(found: FoundValues) -> None:
    """A file comes before words: what `pretrained` loads is then overwritten."""
    given = {role: found.take(role) for role in ("checkpoint", "weights_choice", "pretrained")}
    words = ("pretrained", "none")
    files = [role for role, value in given.items() if value and value not in words]
    for role in files or [role for role, value in given.items() if value in words]:
        found.put("weights", given[role], found.keys[role])
    if given["weights_choice"] == "" and "weights" not in found.values:  # `weights: null` loads none
        found.put("weights", "none", found.keys["weights_choice"])


def _loss(found: FoundValues) -> None:
    loss, focal = found.take("loss"), found.take("focal")
    for role, value in (("loss", loss), ("focal", "focal" if focal else None)):
        if value == "focal" and "focal_gamma" not in found.values:
            found.put("focal_gamma", _FOCAL_GAMMA, found.keys[role])
        if value == "weighted":
            found.put("class_weights", True, found.keys[role])
    if focal is False and found.take("focal_gamma") is not None:
        found.put("focal_gamma", 0.0, found.keys["focal"])


def _balance(found: FoundValues) -> None:
    sampler, loss = found.take("sampler"), found.take("class_weights")
    if sampler and loss:
        raise InvalidInput(
            f"{found.source}: {found.keys['sampler']} and {found.keys['class_weights']} must not both be on: each "
            "makes up for the imbalance alone, together a rare class counts twice; switch one off"
        )
    for value, role, balance in ((sampler, "sampler", "sampler"), (loss, "class_weights", "loss")):
        if value:
            found.put("balance", balance, found.keys[role])
    if not sampler and not loss and (sampler is False or loss is False):
        found.put("balance", "none", found.keys["sampler" if sampler is False else "class_weights"])


def _early_stopping(found: FoundValues) -> None:
    stops = found.take("early_stopping")
    if stops is False:
        found.take("patience")
        found.put("patience", "none", found.keys["early_stopping"])
    elif stops and "patience" not in found.values:
        found.notes.append(f"{found.keys['early_stopping']} is on without a patience: the trial runs all its epochs")


def _rates(found: FoundValues) -> None:
    """The rate of the head is Thaw's `lr`; a plain rate beside it is that of the backbone."""
    head, plain_rate = found.take("head_lr"), found.values.get("lr")
    if head is not None:
        if plain_rate is not None and "backbone_lr" not in found.values:
            found.put("backbone_lr", plain_rate, found.keys["lr"])
        elif plain_rate not in (None, head, found.values.get("backbone_lr")):
            found.notes.append(f"{found.keys['lr']} gives way to {found.keys_of(['head_lr', 'backbone_lr'])}")
        found.take("lr")
        found.put("lr", head, found.keys["head_lr"])
    if found.values.get("backbone_lr") == 0:  # a rate of 0 freezes
        found.take("backbone_lr")
        found.put("freeze", True, found.keys["backbone_lr"])


def _freezing(found: FoundValues) -> None:
    stages, named = _stages(found), found.keys_of(_FREEZING)
    phases, thawed, strategy, frozen_epochs = (
        found.take(role) for role in ("phases", "thawed", "strategy", "frozen_epochs")
    )
    if thawed is not None:
        found.put("freeze", not thawed, found.keys["thawed"])
    freeze = found.take("freeze")
    if frozen_epochs is not None:
        found.put("unfreeze_at", frozen_epochs, found.keys["frozen_epochs"])
        if frozen_epochs == 0 and freeze:
            found.refuse("freezing", f"{found.keys['frozen_epochs']}: must be at least 1 with a frozen backbone, got 0")
    unfreeze_at = found.take("unfreeze_at")
    if strategy in ("head", "full") and freeze is None and unfreeze_at is None and stages is None:
        freeze = strategy == "head"
    key = found.keys.get("phases", "")
    where = None if stages is None else stages.stages
    meant = freezing(freeze, unfreeze_at, phases, whole_number(found.values.get("epochs")), key, where)
    if strategy is not None and strategy != meant.settings["strategy"]:
        found.refuse("freezing", f"{found.keys['strategy']}: must agree with the other keys, got {strategy}")
    keys = ", ".join(filter(None, (named, found.keys_of(_STAGES))))
    for name, value in meant.settings.items():
        if keys:
            found.put(name, value, keys)
    if meant.epochs and "epochs" not in found.values:
        found.put("epochs", meant.epochs, found.keys["phases"])
    if stages is not None and not stages.exact:
        found.notes.append(f"{found.keys_of(_STAGES)}: a stage trains as a whole, or not at all")
    for problem in meant.refused:
        found.refuse("freezing", problem)
    found.unknown += meant.unknown
    found.notes += meant.notes


_STAGES = ["layers", "frozen_layers", "thawed_stages", "frozen_stages", "freeze_at"]


def _stages(found: FoundValues) -> LayerStages | None:
    """Return the stages that train according to the layers that are named, or to a number of stages."""
    given = {role: value for role in _STAGES if (value := found.take(role)) is not None}
    if not given:
        return None
    architecture, results = found.values["architecture"], []
    for role, value in given.items():
        try:
            match role:
                case "layers":
                    results.append(trained_stages(architecture, [name for name in value.split(",") if name]))
                case "frozen_layers":
                    results.append(stages_behind(architecture, value.split(",")))
                case "thawed_stages":
                    results.append(count_stages(architecture, trained=value))
                case _:
                    frozen = value if role == "frozen_stages" else value - 1
                    results.append(count_stages(architecture, frozen=frozen))
        except UnknownValue as reason:
            found.miss(found.keys[role], value, str(reason), "freezing")
    if len({result.stages for result in results}) > 1:
        found.refuse("freezing", f"{found.keys_of(list(given))}: must agree, got different stages")
    return results[0] if results else None


def _backbone_lr(found: FoundValues) -> None:
    rate, lr = found.take("backbone_lr"), found.values.get("lr")
    if rate is None or lr is None:
        if rate is not None:
            found.unknown.append(
                f"{found.keys['backbone_lr']}: {short_value(rate)} (without a learning rate of the head)"
            )
        return
    key = found.keys["backbone_lr"]
    try:
        factor = rate / lr
    except (ZeroDivisionError, OverflowError):
        factor = 0.0
    if 0 < factor <= 1:
        found.put("backbone_lr_factor", float(f"{factor:.6g}"), key)
    else:
        found.unknown.append(
            f"{key}: {short_value(rate)} (must be a share of the learning rate, above 0 and at most 1)"
        )


def _clipping(found: FoundValues) -> None:
    if found.take("clip_mode") == "other" and (limit := found.take("clip_norm")) is not None:
        found.unknown.append(f"{found.keys['clip_norm']}: {short_value(limit)} (Thaw clips the norm of all gradients)")


def _ema(found: FoundValues) -> None:
    ema = found.take("ema")
    if ema is False:
        found.take("ema_decay")
        found.put("ema_decay", "none", found.keys["ema"])
    elif ema and "ema_decay" not in found.values:
        found.put("ema_decay", _EMA_DECAY, found.keys["ema"])


def _mixing(found: FoundValues) -> None:
    given = {role: value for role in ("mixup", "cutmix") if (value := found.take(role)) is not None}
    active = [role for role, value in given.items() if value is True or (value is not False and value != 0)]
    for role in active[1:]:
        found.unknown.append(f"{found.keys[role]}: {short_value(given[role])} (Thaw mixes in one way: {active[0]})")
    if given:
        found.put("mixing", active[0] if active else "none", found.keys[active[0] if active else next(iter(given))])
    if active and given[active[0]] is not True:
        found.put("mixing_alpha", given[active[0]], found.keys[active[0]])


def _data(found: FoundValues, locate: Callable[[str], str]) -> None:
    train, name = found.take("train_dir"), found.take("data.name")
    if train is not None and "data.root" not in found.values:
        found.put("data.root", str(PurePath(train).parent), found.keys["train_dir"])
    if name is not None and "data.root" not in found.values:
        found.put("data.root", name, found.keys["data.name"])
    elif name is not None and name != found.values["data.root"]:
        found.unknown.append(
            f"{found.keys['data.name']}: {short_value(name)} (the photos are in {found.keys['data.root']})"
        )
    for setting in ("data.root", "weights"):
        value = found.values.get(setting)
        if value is not None and not (setting == "weights" and value in ("pretrained", "none")):
            found.values[setting] = locate(value)
