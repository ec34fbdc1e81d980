"""Where a model can be cut: what lies before is frozen and may be computed once, what lies behind still trains.

The model is traced with torch.fx, but only where it must be looked into: a module that is frozen as a whole, or trained
as a whole, is one node. So a trace costs milliseconds, and what cannot be traced inside a block does not matter.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any

import torch
from timm.layers import get_notrace_functions  # type: ignore[attr-defined]
from timm.layers.drop import DropPath
from timm.layers.patch_dropout import PatchDropout
from torch import Tensor, fx, nn
from torch.nn import functional

from trainables.config import NormStats
from trainables.model.freeze import set_train_mode
from trainables.model.stages import classifier_parameters

CUT_TOLERANCE = 1e-5

# What draws in train mode: it stays behind the cut, so that the same seed gives the same masks as in the whole model.
_RANDOM_MODULES = (nn.modules.dropout._DropoutNd, DropPath, PatchDropout)
_RANDOM_FUNCTIONS = (functional.dropout, functional.dropout2d, functional.alpha_dropout, torch.dropout)

_Names = frozenset[str]


class CannotCut(Exception):
    """Why a model cannot be cut, as a phrase."""


@dataclass(frozen=True)
class Cut:
    """A model in two parts. It holds none of the model's tensors, and fits every model of the same architecture.

    What crosses is one row an image: the tensors that the second part needs of the first, flattened side by side.
    """

    shapes: tuple[tuple[int, ...], ...]
    """Of each tensor that crosses, without the batch."""

    dtypes: tuple[torch.dtype, ...]
    """Of each tensor that crosses, whatever the type in which it was kept meanwhile."""

    layouts: tuple[torch.memory_format, ...]
    """Of each tensor that crosses."""

    head: fx.Graph
    training: fx.Graph
    evaluating: fx.Graph

    @property
    def width(self) -> int:
        """Numbers an image."""
        return sum(self.widths)

    @property
    def widths(self) -> list[int]:
        """Numbers of each tensor that crosses."""
        return [torch.Size(shape).numel() for shape in self.shapes]

    @property
    def digest(self) -> str:
        """A hash of what the first part computes, apart from its weights."""
        return sha256(f"{self.head.python_code('self').src}{self.shapes}{self.dtypes}".encode()).hexdigest()

    def prefix(self, model: nn.Module) -> "Prefix":
        """Return the frozen part of `model`, which shares its modules: images (n, 3, s, s) to rows (n, width)."""
        return Prefix(model, self)

    def suffix(self, model: nn.Module) -> "Suffix":
        """Return the rest of `model`, which shares its modules and follows its mode: rows (n, width) to logits."""
        return Suffix(model, self)


class Prefix(nn.Module):
    """The part of a model before a cut."""

    def __init__(self, model: nn.Module, cut: Cut) -> None:
        super().__init__()
        self.body = _bound(model, cut.head)

    def forward(self, images: Tensor) -> Tensor:
        """Compute one row per image."""
        return torch.cat([part.float().flatten(1) for part in self.body(images)], dim=1)


class Suffix(nn.Module):
    """The part of a model behind a cut."""

    def __init__(self, model: nn.Module, cut: Cut) -> None:
        super().__init__()
        self.cut = cut
        self.in_training, self.in_evaluation = _bound(model, cut.training), _bound(model, cut.evaluating)
        # Beside the modules, not among them: its mode is followed, its frozen parameters are no part of this one.
        self._model = (model,)

    def forward(self, rows: Tensor) -> Tensor:
        """Compute logits of rows that the prefix made."""
        cut = self.cut
        parts = [
            part.to(dtype).reshape(len(rows), *shape).contiguous(memory_format=layout)
            for part, shape, dtype, layout in zip(
                torch.split(rows, cut.widths, 1), cut.shapes, cut.dtypes, cut.layouts, strict=True
            )
        ]
        body = self.in_training if self._model[0].training else self.in_evaluation
        logits: Tensor = body(*parts)
        return logits

    def train(self, mode: bool = True) -> "Suffix":
        """Set the mode of the whole model, as its own `train` does."""
        self._model[0].train(mode)
        return super().train(mode)


def find_cut(
    model: nn.Module,
    images: Tensor,
    context: Callable[[], AbstractContextManager[Any]] = nullcontext,
    norm_stats: NormStats = "batch",
) -> Cut:
    """Cut `model` behind the last thing that depends neither on a parameter that needs a gradient nor on chance.

    `images` (n, 3, s, s), n at least 2, are what the cut is tried on, within `context` (autocast): both parts together
    must give the logits of the whole, to 1e-5, in eval mode and, with the same seed, in train mode, of which
    `norm_stats` is a part. The model is left in train mode, otherwise as it was. Raises CannotCut, which says why,
    where there is no such cut.
    """
    start_training = partial(set_train_mode, norm_stats=norm_stats)
    try:
        start_training(model)
        training = _trace(model)
        frozen = _frozen(training, model)
        model.eval()
        evaluating = _trace(model)
    except CannotCut:
        raise
    except Exception as error:  # Tracing runs the model's own code on what are no tensors: anything can come of it.
        raise CannotCut(f"it cannot be traced ({_first_line(error)})") from error
    finally:
        start_training(model)
    with torch.no_grad(), context():
        values = _values(model.eval(), evaluating, frozen, images)
    cut = _smallest(training, evaluating, frozen, values)
    _verify(model, cut, images, context, start_training)
    return cut


class _Whole(nn.Module):
    """A model with one input, whatever else its forward takes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        return logits


class _Tracer(fx.Tracer):
    """Looks into a module only where part of it trains and part does not, and where the classifier is."""

    def __init__(self, head: frozenset[int]) -> None:
        super().__init__(autowrap_functions=tuple(get_notrace_functions()))  # type: ignore[no-untyped-call]
        self.head = head

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        parameters = list(m.parameters())
        trained = [parameter.requires_grad for parameter in parameters]
        if not any(trained) or super().is_leaf_module(m, module_qualified_name):
            return True
        return all(trained) and not any(id(parameter) in self.head for parameter in parameters)


def _trace(model: nn.Module) -> fx.Graph:
    head = classifier_parameters(model)
    own = frozenset(id(parameter) for name, parameter in model.named_parameters() if name in head)
    return _Tracer(own).trace(_Whole(model))


def _frozen(graph: fx.Graph, model: nn.Module) -> _Names:
    """Return the names of the nodes that depend neither on a trained parameter nor on chance."""
    found: set[str] = set()
    root = _Whole(model)
    for node in graph.nodes:
        depends = any(source.name not in found for source in node.all_input_nodes)
        if node.op != "output" and not depends and not _moves(node, root):
            found.add(node.name)
    return frozenset(found)


def _moves(node: fx.Node, root: nn.Module) -> bool:
    if node.op == "call_module":
        module = root.get_submodule(str(node.target))
        draws = any(isinstance(part, _RANDOM_MODULES) and part.training for part in module.modules())
        return any(parameter.requires_grad for parameter in module.parameters()) or (draws and not _passes(node, root))
    if node.op == "get_attr":
        owner, _, name = str(node.target).rpartition(".")
        value = getattr(root.get_submodule(owner), name)
        return isinstance(value, Tensor) and value.requires_grad
    return node.op == "call_function" and node.target in _RANDOM_FUNCTIONS


def _passes(node: fx.Node, root: nn.Module) -> bool:
    """Return whether a node gives what it gets."""
    module = root.get_submodule(str(node.target)) if node.op == "call_module" else None
    return isinstance(module, nn.Identity) or (isinstance(module, nn.modules.dropout._DropoutNd) and module.p == 0)


def _values(model: nn.Module, graph: fx.Graph, frozen: _Names, images: Tensor) -> dict[str, Any]:
    """Compute the output of each frozen node for `images`, without those that only pass on, or give no tensor."""
    root = _Whole(model)
    kept = [node for node in graph.nodes if node.name in frozen]
    if len(kept) != len(frozen):
        raise CannotCut("its frozen part is another one in train mode")
    part = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in kept:
        copies[node] = part.node_copy(node, copies.__getitem__)
    part.output(tuple(copies[node] for node in kept))
    values = dict(zip((node.name for node in kept), _bound(model, part)(images), strict=True))
    by_name = {node.name: node for node in kept}
    return {name: value for name, value in values.items() if not _passes(by_name[name], root)}


def _smallest(training: fx.Graph, evaluating: fx.Graph, frozen: _Names, values: dict[str, Any]) -> Cut:
    """Cut behind everything that is frozen or, where less crosses there, behind the last node all else hangs on."""
    images = next(node.name for node in training.nodes if node.op == "placeholder")
    count = len(values[images])
    # What does not depend on the images is no feature of theirs: both parts may have it.
    constant = _independent(training) & frozen

    def crossing(before: _Names) -> list[str]:
        users = {node.name: [user.name for user in node.users] for node in training.nodes}
        return [name for name in users if name in before - constant and any(user not in before for user in users[name])]

    def widest() -> _Names:
        before = frozen
        while True:
            wrong = {name for name in crossing(before) if not _is_rows(values.get(name), count)}
            if not wrong:
                return before
            before = before - wrong

    candidates = [widest()]
    order = [node.name for node in training.nodes if node.name in frozen]
    for position in range(len(order), 0, -1):
        before = frozenset(order[:position])
        names = crossing(before)
        if len(names) == 1 and _is_rows(values.get(names[0]), count):
            candidates.append(before)
            break
    sizes = [sum(values[name].numel() for name in crossing(before)) for before in candidates]
    before = candidates[sizes.index(min(sizes))]
    names = crossing(before)
    if names in ([], [images]):
        raise CannotCut("nothing before its first trained layer can be told apart")
    return Cut(
        shapes=tuple(tuple(values[name].shape[1:]) for name in names),
        dtypes=tuple(values[name].dtype for name in names),
        layouts=tuple(_layout(values[name]) for name in names),
        head=_first_part(evaluating, before, names),
        training=_second_part(training, before, names, constant),
        evaluating=_second_part(evaluating, before, names, constant),
    )


def _layout(value: Tensor) -> torch.memory_format:
    inner = value.ndim == 4 and value.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if inner and not value.is_contiguous() else torch.contiguous_format


def _is_rows(value: Any, count: int) -> bool:
    return isinstance(value, Tensor) and value.ndim >= 2 and len(value) == count and value.is_floating_point()


def _independent(graph: fx.Graph) -> _Names:
    found: set[str] = set()
    for node in graph.nodes:
        if node.op not in ("placeholder", "output") and all(source.name in found for source in node.all_input_nodes):
            found.add(node.name)
    return frozenset(found)


def _first_part(graph: fx.Graph, before: _Names, crossing: list[str]) -> fx.Graph:
    part = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node.name in before:
            copies[node] = part.node_copy(node, copies.__getitem__)
    by_name = {node.name: copy for node, copy in copies.items()}
    part.output(tuple(by_name[name] for name in crossing))
    part.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
    return part


def _second_part(graph: fx.Graph, before: _Names, crossing: list[str], constant: _Names) -> fx.Graph:
    part = fx.Graph()
    by_name = {name: part.placeholder(name) for name in crossing}
    copies = {node: by_name[node.name] for node in graph.nodes if node.name in by_name}
    for node in graph.nodes:
        if node.name not in before or node.name in constant:
            copies[node] = part.node_copy(node, copies.__getitem__)
    part.eliminate_dead_code(lambda node: node.op in ("placeholder", "output") or node.name not in constant)
    return part


def _verify(
    model: nn.Module,
    cut: Cut,
    images: Tensor,
    context: Callable[[], AbstractContextManager[Any]],
    start_training: Callable[[nn.Module], None],
) -> None:
    prefix, suffix = cut.prefix(model), cut.suffix(model)
    devices = [images.device] if images.is_cuda else []
    with torch.no_grad(), torch.random.fork_rng(devices=devices), context():
        rows = prefix(images) if not suffix.eval().training else images
        for mode in (nn.Module.eval, start_training):
            mode(model)
            outputs = []
            for part, inputs in ((model, images), (suffix, rows)):
                torch.manual_seed(0)
                with _unmoved(model):
                    outputs.append(part(inputs))
            whole, parts = outputs
            if whole.shape != parts.shape or not torch.allclose(parts, whole, rtol=CUT_TOLERANCE, atol=CUT_TOLERANCE):
                raise CannotCut("its two parts together do not give what the whole gives")


@contextmanager
def _unmoved(model: nn.Module) -> Iterator[None]:
    """Statistics that train mode moves are put back."""
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    yield
    for buffer, value in before:
        buffer.copy_(value)


def _bound(model: nn.Module, graph: fx.Graph) -> nn.Module:
    own = fx.Graph()
    own.output(own.graph_copy(graph, {}))
    module = fx.GraphModule(_Whole(model), own)
    # A cycle, in which the model's tensors would wait for the garbage collector.
    module.graph.owning_module = None
    return module


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
