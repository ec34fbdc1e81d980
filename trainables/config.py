"""TrialConfig: everything that decides what one trial computes, and nothing else.

Where files lie, how many trials run beside it and who is told of its progress is no part of it: two trials with equal
configurations compute the same model.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from search_spaces.errors import InvalidInput, one_of
from search_spaces.none_and_auto import OrNone
from search_spaces.paths import FromFile
from search_spaces.validation import Frozen, parse
from trainables.data_config import DataConfig
from trainables.fold_rules import folds_refusal
from trainables.nested_settings import flat_settings
from trainables.task_catalog import (
    DEFAULT_TASK,
    Mode,
    all_metrics,
    default_metric,
    find_metric,
    metrics_of,
    task_entry,
    unread_settings,
)

NormStats = Literal["batch", "frozen"]
WeightsLayout = Literal["by_name", "by_order"]
Strategy = Literal["head", "partial", "progressive", "gradual", "full"]

# Each strategy's own parameters; a strategy takes exactly these.
STRATEGY_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "head": (),
    "partial": ("trainable_stages",),
    "progressive": ("unfreeze_epoch",),
    "gradual": ("last_stage_epoch", "full_after"),
    "full": (),
}


def _one_balance(value: Any) -> Any:
    if isinstance(value, list | tuple):
        raise ValueError(
            f"sampler and loss must not be combined, got {list(value)}: each makes up for the imbalance alone, "
            "together a rare class counts twice; choose one"
        )
    return value


def _owner(parameter: str) -> str:
    """Return the strategy that takes a parameter."""
    return next(strategy for strategy, names in STRATEGY_PARAMETERS.items() if parameter in names)


_ONE_BALANCE = BeforeValidator(_one_balance)

# What other tools call pretrained and random weights.
_MISTAKEN_WEIGHTS = (
    *((word, "pretrained") for word in ("imagenet", "imagenet1k", "imagenet1kv1", "imagenet1kv2", "imagenet21k")),
    *((word, "pretrained") for word in ("default", "true", "yes", "pretrained", "timm")),
    *((word, "none") for word in ("random", "scratch", "null", "false", "no", "none", "")),
)


def _usual_mode(fields: Mapping[str, Any]) -> Mode:
    metric = find_metric(fields["metric"]) if "metric" in fields else None
    return "max" if metric is None else metric.mode


def _all_metrics_allowed(schema: dict[str, Any]) -> None:
    schema["enum"] = list(all_metrics())


class Objective(Frozen):
    """The number that decides which epoch and which trial is the best."""

    metric: str = Field(default=default_metric(DEFAULT_TASK), json_schema_extra=_all_metrics_allowed)
    """A metric of the validation split, one of the task's."""

    mode: Mode = Field(default_factory=_usual_mode)
    """max or min; by default the way in which the metric is better."""

    @field_validator("metric")
    @classmethod
    def _known(cls, metric: str) -> str:
        if find_metric(metric) is None:
            raise ValueError(one_of(metric, all_metrics()))
        return metric

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """The mode in Optuna's words."""
        return "maximize" if self.mode == "max" else "minimize"

    def value(self, metrics: Mapping[str, float]) -> float:
        """Return the objective among the metrics of an epoch; raises KeyError where it is missing."""
        return metrics[self.metric]

    def score(self, value: float) -> float:
        """`value` on a scale on which larger is better."""
        return value if self.mode == "max" else -value

    def better(self, value: float, than: float) -> bool:
        """Return whether `value` beats `than`; equal values do not, so that the earlier one is kept."""
        return self.score(value) > self.score(than)


def default_objective(task: str) -> Objective:
    """Return the objective of a task where none is named."""
    metric = default_metric(task)
    return Objective(metric=metric, mode=metrics_of(task)[metric].mode)


def _known_task(task: str) -> str:
    try:
        task_entry(task)
    except InvalidInput as error:
        raise ValueError(str(error).removeprefix("task: ")) from None
    return task


def _objective_of_task(given: Any, check: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Objective:
    """Complete and check an objective by the metrics of the task, whose field stands before it."""
    task = info.data.get("task")
    if task is None:  # an error of its own; of an unknown task there are no metrics to choose among
        return Objective()
    metrics = metrics_of(task)
    if isinstance(given, Mapping):
        given = {"metric": default_metric(task), **given}
        known = metrics.get(str(given["metric"]))
        given = given if known is None else {"mode": known.mode, **given}
        if known is None and isinstance(given["metric"], str):
            message = one_of(given["metric"], metrics)
            error = PydanticCustomError("value_error", "{message}", {"message": message})
            detail = InitErrorDetails(type=error, loc=("metric",), input=given["metric"])
            raise ValidationError.from_exception_data("Objective", [detail])
    objective: Objective = check(given)
    if objective.metric not in metrics:
        raise ValueError(f"metric {one_of(objective.metric, metrics)}")
    wanted = metrics[objective.metric].mode
    if objective.mode != wanted:
        raise ValueError(f"{objective.metric} is better when `{wanted}`, got mode={objective.mode}; leave it out")
    return objective


TaskName = Annotated[str, AfterValidator(_known_task)]
TaskObjective = Annotated[Objective, WrapValidator(_objective_of_task)]
"""An objective beside a field `task`, which stands before it."""


class TrialConfig(Frozen):
    """One trial: data, model, freeze plan, optimization. Validated once, frozen, JSON round trip."""

    data: DataConfig
    """The data set and its preprocessing."""

    task: TaskName = DEFAULT_TASK
    """Task of the model: its output for an image, and so its head, targets, loss and metrics."""

    objective: TaskObjective = Field(default_factory=lambda fields: default_objective(fields["task"]))
    """Decides the best epoch, and what patience and the plateau scheduler watch."""

    architecture: str
    """Any timm model name, e.g. efficientnet_b0, mobilenetv3_large_100, resnet50, vgg16_bn."""

    weights: Annotated[str, FromFile(("pretrained", "none"), _MISTAKEN_WEIGHTS)] = "pretrained"
    """pretrained (timm's hub, or `data.weights_dir` where set), none (random), or a path: `.safetensors`, what
    torch.save wrote (`.pth`, `.pt`, Lightning's `.ckpt`), or a checkpoint folder of Thaw (`.../best`)."""

    weights_layout: WeightsLayout = "by_name"
    """Way in which a weights file is matched with the model: by_name, timm's names or those of a library that is known,
    or by_order and shape, whatever the names. The latter must beat random weights on a linear probe."""

    strategy: Strategy
    """Schedule of freezing and thawing: head, partial, progressive, gradual, full."""

    trainable_stages: Annotated[int | None, Field(ge=1)] = None
    """partial: number of stages before the classifier that train as well."""

    unfreeze_epoch: Annotated[int | None, Field(ge=1)] = None
    """progressive: the epoch (counted from 0) at whose start the whole backbone thaws."""

    last_stage_epoch: Annotated[int | None, Field(ge=1)] = None
    """gradual: the epoch at whose start the last stage thaws."""

    full_after: Annotated[int | None, Field(ge=1)] = None
    """gradual: how many epochs after `last_stage_epoch` everything thaws."""

    norm_stats: NormStats = "batch"
    """Statistics of BatchNorm in thawed stages: those of each batch, or, frozen, those that came with the weights.
    Untrained weights bring none."""

    head_init: Literal["random", "probe"] = "random"
    """Start of the classifier: random, or a logistic regression on the frozen features (LP-FT, arXiv 2202.10054)."""

    epochs: int = Field(ge=1, le=10_000)
    """Passes over the training split."""

    batch_size: int = Field(default=32, ge=1, le=1_000_000)
    """Images of one optimizer step, over all workers together."""

    lr: float = Field(gt=0, le=100)
    """Peak learning rate of the head."""

    backbone_lr_factor: float = Field(default=1.0, gt=0, le=1)
    """Learning rate of the backbone = lr x this."""

    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    """adamw, adam, or sgd with Nesterov momentum 0.9."""

    weight_decay: float = Field(default=0.01, ge=0, lt=1)
    """Applied to weight matrices and kernels, never to biases and normalization layers."""

    decay_to: Literal["zero", "start"] = "zero"
    """Where `weight_decay` pulls thawed stages: to zero, or to where they began (L2-SP, arXiv 1802.01483)."""

    scheduler: Literal["constant", "cosine", "step", "plateau", "one_cycle"] = "cosine"
    """Course of the learning rate over the epochs."""

    warmup_epochs: float = Field(default=0.0, ge=0)
    """Epochs over which the learning rate rises linearly at the start of the trial."""

    thaw_warmup_epochs: float = Field(default=0.0, ge=0)
    """Epochs over which the learning rate of newly thawed stages rises linearly."""

    stage_lr_decay: float = Field(default=1.0, gt=0, le=1)
    """Each stage's learning rate is this times that of the stage nearer to the head."""

    clip_norm: OrNone[Annotated[float, Field(gt=0)]] = None
    """Largest norm of the gradient of a step; none: not clipped."""

    ema_decay: OrNone[Annotated[float, Field(gt=0, lt=1)]] = None
    """Decay, a step, of an exponential moving average of the weights, which is then what is evaluated and exported."""

    balance: Annotated[Literal["none", "sampler", "loss"], _ONE_BALANCE] = "none"
    """Answer to imbalanced classes: weighted sampler or class-weighted loss; both would count a rare class twice."""

    class_weighting: Literal["inverse", "effective"] = "inverse"
    """Weight of a class for sampler and loss: 1 / count, or by the effective number of its samples."""

    focal_gamma: float = Field(default=0.0, ge=0, le=10)
    """Focus on hard samples: the focal loss; 0 is cross-entropy."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target that is spread over all classes."""

    teacher: Annotated[str, FromFile(("none",))] = "none"
    """Model whose probabilities are learned beside the labels (distillation, arXiv 1503.02531): a run with an exported
    winner, or a `model.onnx`. It has the same classes, and any architecture and image size."""

    teacher_weight: float = Field(default=0.5, gt=0, le=1)
    """Share of the teacher in the loss; the rest is that of the labels."""

    teacher_temperature: float = Field(default=2.0, gt=0, le=100)
    """Logits of both are divided by this where they are compared; above 1, improbable classes count for more."""

    augmentation: Literal["none", "light", "medium", "strong", "trivial"] = "none"
    """Random changes to the training images, drawn anew every epoch."""

    mixing: Literal["none", "mixup", "cutmix"] = "none"
    """Blend pairs of training images, or paste a part of one into the other, and their labels with them."""

    mixing_alpha: float = Field(default=0.4, gt=0, le=10)
    """The share of the first image of a pair is drawn from Beta(alpha, alpha)."""

    random_erasing: float = Field(default=0.0, ge=0, le=1)
    """Probability that a rectangle of a training image is erased."""

    normalization: Literal["weights", "dataset"] = "weights"
    """Mean and standard deviation the weights were trained with, or those of the training split."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout before the classifier."""

    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """Stochastic depth: probability that the last residual block is skipped; earlier blocks less."""

    patience: OrNone[Annotated[int, Field(ge=1)]] = None
    """Epochs without a better objective, counted from the last thaw, after which the trial ends; none: never."""

    min_delta: float = Field(default=0.0, ge=0)
    """By how much the objective must improve to count as better for `patience`."""

    micro_batch_size: OrNone[Annotated[int, Field(ge=1)]] = None
    """Images a worker holds at once; gradients are accumulated to the whole batch. none: its share of the batch."""

    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Arithmetic of the forward pass; fp16 with a gradient scaler, on a GPU only."""

    channels_last: bool = False
    """Memory layout with the channels innermost; a sweep without GPUs sets it, since convolutions are faster so."""

    sync_batchnorm: bool = False
    """BatchNorm over the batch of all workers, on GPUs; otherwise each worker normalizes its own share."""

    feature_views: int = Field(default=1, ge=0, le=1000)
    """Views of each image that a frozen phase trains on, their features computed once: 1, without augmentation; 2 or
    more, with augmentation, for as many fixed views that the epochs take in turn; 0: nothing is cached."""

    feature_dtype: Literal["fp32", "fp16"] = "fp32"
    """Number format of stored features; fp16 takes half the disk."""

    compile: bool = False
    """Compile the model with torch.compile; pays for long trials."""

    seed: int = Field(default=42, ge=0, lt=2**31)
    """The one source of chance of the trial."""

    @model_validator(mode="after")
    def _strategy_has_its_parameters(self) -> Self:
        wanted = STRATEGY_PARAMETERS[self.strategy]
        for names in STRATEGY_PARAMETERS.values():
            for name in names:
                given = getattr(self, name) is not None
                if name in wanted and not given:
                    raise ValueError(f"strategy {self.strategy} needs `{name}`; set it, or choose another strategy")
                if given and name not in wanted:
                    raise ValueError(
                        f"strategy {self.strategy} takes no `{name}`, got {getattr(self, name)}; remove it, or, where "
                        f"the strategy is searched, give `{name}` the condition `when: {{strategy: {_owner(name)}}}`"
                    )
        return self

    @model_validator(mode="after")
    def _thaws_before_the_end(self) -> Self:
        if self.unfreeze_epoch is not None and self.unfreeze_epoch >= self.epochs:
            raise ValueError(
                f"unfreeze_epoch must be below epochs, got unfreeze_epoch={self.unfreeze_epoch}, epochs={self.epochs}; "
                "a trial that never thaws is strategy head"
            )
        if self.last_stage_epoch is not None and self.full_after is not None:
            thawed = self.last_stage_epoch + self.full_after
            if thawed >= self.epochs:
                raise ValueError(
                    f"last_stage_epoch + full_after must be below epochs, got {self.last_stage_epoch} + "
                    f"{self.full_after} = {thawed}, epochs={self.epochs}; thaw earlier or train longer"
                )
        return self

    @model_validator(mode="after")
    def _task_reads_its_settings(self) -> Self:
        for name in unread_settings(self.task):
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"task {self.task} reads no `{name}`, got {getattr(self, name)}; remove it")
        return self

    @model_validator(mode="after")
    def _folds_can_be_trained(self) -> Self:
        refusal = None if self.data.folds_trained is None else folds_refusal(self)
        if refusal is not None:
            raise ValueError(refusal)
        return self

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], source: str) -> Self:
        """Validate user input; raises InvalidInput naming `source` and the dotted key."""
        return parse(cls, values, source)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping that `model_validate` reads back; parameters that do not apply are left out."""
        return self.model_dump(mode="json", exclude_none=True, exclude=set(unread_settings(self.task)))

    def flat(self, separator: str = ".") -> dict[str, Any]:
        """Return the same under the names of the sweep file, one level deep: `lr`, `data.image_size`."""
        return flat_settings(self.to_json(), separator)
