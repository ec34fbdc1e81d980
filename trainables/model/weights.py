"""Weights from files: whose layout they have, which part of them is the model, and whether they fit it.

Nothing in a file is run: safetensors holds tensors alone, and of a pickle only tensors and plain values are made.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from search_spaces.errors import InvalidInput, shown
from search_spaces.permissions import check_readable
from search_spaces.user_files import WEIGHTS, open_user_file
from trainables.checkpoint_state import CheckpointState, check_one_model, partial_state
from trainables.config import TrialConfig, WeightsLayout
from trainables.data.sources.bucket_file import local_file
from trainables.model.content_kinds import mistaken_content
from trainables.model.freeze import frozen_digest
from trainables.model.inert_pickle import Inert
from trainables.model.key_layouts import in_timm_layout
from trainables.model.stages import classifier_parameters
from trainables.model.state_dicts import STATE_DICT_KEYS, find_state_dict
from trainables.model.tensor_order import by_order, fits_by_order
from trainables.model.torch_file import NoTorchFile, StoredTensor, TorchFile, open_torch_file
from trainables.model.weight_values import check_values
from trainables.storage.bucket import BucketPath
from trainables.storage.place import Place

log = logging.getLogger(__name__)

# What a checkpoint folder of Thaw calls its tensors.
CHECKPOINT_FILE = "model.safetensors"
TORCH_ENDINGS = (".pth", ".pt", ".ckpt", ".bin", ".tar")
ENDINGS = (".safetensors", *TORCH_ENDINGS)
# What runs code when it is called: no weights name it. It would be inert, but the user should hear of it.
_RUNS_CODE = re.compile(
    r"(os|posix|nt|subprocess|shutil|socket|runpy|importlib|ctypes|pty|webbrowser)\..*"
    r"|(__builtin__|builtins)\.(eval|exec|execfile|compile|open|__import__|apply|input)"
)
# What every state dict names in order to be read, and what usually stands beside it.
_USUAL = re.compile(
    r"torch\.(_utils\.|_tensor\.|storage\.)?\w+|collections\.(OrderedDict|Counter|defaultdict)"
    r"|numpy\..*|(__builtin__|builtins)\.(set|bytearray|complex)|_codecs\.encode"
)


def weights_path(config: TrialConfig) -> Place | None:
    """Return the file or checkpoint folder the weights come from; None for random weights and for timm's hub."""
    if config.weights == "none":
        return None
    if config.weights != "pretrained":
        return Path(config.weights)
    if config.data.weights_dir is None:
        return None
    return config.data.weights_dir / f"{config.architecture}.safetensors"


def weights_file(path: Place) -> Place:
    """Find the file of weights at `path`, or in the checkpoint folder there; raises InvalidInput when there is none."""
    if isinstance(path, BucketPath):
        try:
            local_file(path)
        except FileNotFoundError:
            raise InvalidInput(_not_there(path)) from None
        return path
    check_readable(path)
    file = path / CHECKPOINT_FILE if path.is_dir() else path
    check_readable(file)
    if file.exists() and not file.is_dir():
        open_user_file(file, WEIGHTS).close()  # refuses what is no regular file
    elif not file.is_file():
        raise InvalidInput(_not_there(path))
    return file


def weights_files(config: TrialConfig) -> Iterator[Place]:
    """Yield the files that the weights of a trial are read from; none for random weights and for timm's hub.

    A checkpoint that leaves out the frozen part of its model is followed by the files it has that from. Raises
    InvalidInput for a file that is missing.
    """
    path = weights_path(config)
    if path is not None:
        file = weights_file(path)
        yield file
        checkpoint = partial_checkpoint(file)
        if checkpoint is not None:
            yield from weights_files(checkpoint.config)


def partial_checkpoint(file: Place) -> CheckpointState | None:
    """Return the state of the checkpoint of Thaw whose tensors `file` holds, where the frozen part is left out.

    Raises InvalidInput where it holds the heads of folds.
    """
    if isinstance(file, BucketPath) or file.name != CHECKPOINT_FILE:
        return None
    state = partial_state(file.parent)
    if state is not None:
        check_one_model(file.parent, state)
    return state


def check_frozen_part(
    state: Mapping[str, Tensor],
    changed: AbstractSet[str],
    checkpoint: CheckpointState,
    folder: Place,
    known: MutableMapping[str, str],
) -> None:
    """Raise InvalidInput unless the part of `state` that is not `changed` is what the checkpoint in `folder` left out.

    `known` holds digests of its tensors, see `frozen_digest`.
    """
    if frozen_digest(state, changed, known) != checkpoint.frozen_digest:
        config = checkpoint.config
        raise InvalidInput(
            f"{weights_path(config) or f'weights of {config.architecture} in timm'}: must be as they were when the "
            f"trial of {folder} started from them, since its checkpoint holds only what was trained, but they have "
            "changed; restore them, or train the trial again"
        )


def load_weights(
    model: nn.Module,
    architecture: str,
    path: Place,
    layout: WeightsLayout = "by_name",
    left_out: Mapping[str, Tensor] = MappingProxyType({}),
) -> None:
    """Load a file in a key layout that is timm's or mapped to it; only a head of another size or form is replaced.

    A prefix of the keys (`model.`, `module._orig_mod.`, ...) is stripped, the one under which most of them fit; what
    lies outside it, a loss or a metric, is left out, with a message. Everything else is strict. With the layout
    `by_order`, tensors are matched by order and shape instead of names, see `tensor_order`. Raises InvalidInput when
    the file is missing or unreadable, when it would run code, when it belongs to another architecture, and for values
    with which nothing can be trained, such as NaN. `left_out` are tensors that a checkpoint there leaves out.
    """
    own, read = model.state_dict(), {**left_out, **read_weights(path)}
    if layout == "by_order":
        _check_order_is_kept(path)
        tensors = by_order(read, model, architecture, str(path))
    else:
        tensors = _by_name(read, model, architecture, path)
    head = classifier_parameters(model)
    replaced = any(name not in tensors or tensors[name].shape != own[name].shape for name in head)
    if replaced:
        modules = {name.rpartition(".")[0] + "." for name in head}
        foreign = [name for name in tensors.keys() - own.keys() if any(map(name.startswith, modules))]
        for name in (*head, *foreign):
            tensors.pop(name, None)
    # Files converted from elsewhere lack these counters, which torch itself does not ask for.
    missing = sorted(name for name in own.keys() - tensors.keys() - head if not name.endswith("num_batches_tracked"))
    unexpected = sorted(tensors.keys() - own.keys())
    reshaped = sorted(name for name in own.keys() & tensors.keys() if own[name].shape != tensors[name].shape)
    if missing or unexpected or reshaped:
        details = [
            f"{len(names)} keys {what} ({_some(names)})"
            for names, what in ((missing, "missing"), (unexpected, "unexpected"), (reshaped, "of another shape"))
            if names
        ]
        remedy = "give the file of this architecture, or set architecture to the one it was made for"
        if path.suffix in TORCH_ENDINGS and fits_by_order(read, model):
            remedy = "its tensors fit in their order: set weights_layout: by_order, which measures whether they help"
        raise InvalidInput(
            f"weights must fit the architecture {architecture}, got {path}: {'; '.join(details)}; {remedy}"
        )
    check_values(tensors, own, path)
    model.load_state_dict(tensors, strict=False)
    done = "is replaced by a new one" if replaced else "of the file is kept, which has as many outputs: one"
    log.info("%s: the head %s of %d classes", path.name, done, model.num_classes)


def read_weights(path: Place) -> dict[str, Tensor]:
    """Read the state dict in a file, or in a checkpoint folder of Thaw, on the CPU; all else in it is ignored.

    A file is .safetensors, or what torch.save wrote: a state dict, or a mapping with one under `state_dict`, `model` or
    `model_state_dict`, such as Lightning's .ckpt. Raises InvalidInput when it is missing, when it is nothing of these,
    and, without having run any of it, when it is a pickle of more than tensors and plain values.
    """
    file = weights_file(path)
    if file.suffix not in ENDINGS:
        raise InvalidInput(f"weights file must end in {', '.join(ENDINGS)}, got {file}; rename or convert it")
    if isinstance(file, Path) and file.suffix in TORCH_ENDINGS:
        return _read_torch_file(file)
    local = local_file(file)
    try:
        return load_file(local)
    except Exception as error:  # a damaged header fails in whatever part of it the damage is in
        found = mistaken_content(local)
        if found is not None:
            raise InvalidInput(f"weights must be a .safetensors file, got {file}: {found}") from error
        raise InvalidInput(
            f"weights must be a .safetensors file, got {file} ({error}); convert it with safetensors.torch.save_file"
        ) from error


def _read_torch_file(file: Path) -> dict[str, Tensor]:
    try:
        with open_torch_file(file) as opened:
            _refuse_code(opened.names, file)
            notes = _state_dict(opened, file)
            unusual = sorted(name for name in opened.names if not _USUAL.fullmatch(name))
            if unusual:
                log.info("%s: objects beside the weights are not loaded (%s)", file.name, _some(unusual, 5))
            return opened.tensors(notes)
    except NoTorchFile as error:
        _refuse_code(error.names, file)
        found = mistaken_content(file)
        if found is not None:
            raise InvalidInput(f"weights must be a file that torch.save wrote, got {file}: {found}") from error
        reason = (str(error).splitlines() or [""])[0][:120]
        raise InvalidInput(
            f"weights must be a file that torch.save wrote, got {file} ({reason}); "
            "it may be damaged, or TorchScript: save model.state_dict() anew"
        ) from error


def _refuse_code(names: Iterable[str], file: Path) -> None:
    wanted = sorted(name for name in names if _RUNS_CODE.fullmatch(name))
    if wanted:
        raise InvalidInput(
            f"weights must hold tensors only, got {file}, a pickle that wants to load {_some(wanted, 5)}, "
            "which could run code: nothing of it was run; where you trust the file, load it in a script of "
            "your own and save model.state_dict() alone, best with safetensors.torch.save_file"
        )


def _state_dict(opened: TorchFile, file: Path) -> dict[str, StoredTensor]:
    notes = find_state_dict(opened.value)
    if notes is None:
        raise InvalidInput(
            f"weights must be a state dict, or hold one under {', '.join(STATE_DICT_KEYS)}, got {file}: "
            f"{_contents(opened.value)}; save model.state_dict() alone"
        )
    for name, note in notes.items():
        if note.fault is not None:
            raise InvalidInput(
                f"weights must be dense tensors of numbers, got {file}: {shown(name)} is {note.fault}; "
                "save the state_dict() of the model in float32"
            )
    return notes


def _contents(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a mapping of {_some(sorted(str(key)[:40] for key in value), 8)}"
    if isinstance(value, StoredTensor):
        return "Tensor"
    return f"an object {value.name[:100]}" if isinstance(value, Inert) else type(value).__name__


def _by_name(tensors: dict[str, Tensor], model: nn.Module, architecture: str, path: Place) -> dict[str, Tensor]:
    """Return the tensors of a file under the names of `model`, as far as their layout is known."""
    stripped = _strip_prefix(tensors, model.state_dict(), path)
    mapped, library = in_timm_layout(stripped, model, architecture, str(path))
    if library is not None:
        log.info("%s: the keys of %s are mapped to those of timm", path.name, library)
    return mapped


def _check_order_is_kept(path: Place) -> None:
    if path.suffix not in TORCH_ENDINGS:
        raise InvalidInput(
            f"weights_layout: by_order needs a file that keeps the order of the layers ({', '.join(TORCH_ENDINGS)}), "
            f"got {path}: safetensors sorts them by name; give what torch.save wrote of the model's state_dict()"
        )


def _strip_prefix(tensors: dict[str, Tensor], own: Mapping[str, Tensor], path: Place) -> dict[str, Tensor]:
    """`tensors` under the names of `own`: of all prefixes the one under which most keys fit, the shortest of equals."""
    names, shapes = Counter[str](), Counter[str]()
    for name, tensor in tensors.items():
        for prefix, rest in _cuts(name):
            if rest in own:
                names[prefix] += 1
                shapes[prefix] += own[rest].shape == tensor.shape
    best = min(names, key=lambda prefix: (-shapes[prefix], -names[prefix], len(prefix)), default="")
    # Where hardly anything fits, the file is another architecture's, and is told as it is.
    if not best or names[best] * 2 <= len(own):
        return tensors
    outside = sorted(name for name in tensors if not name.startswith(best))
    left_out = f"; {len(outside)} keys outside it are left out ({_some(outside)})" if outside else ""
    log.info("%s: the prefix %s of its keys is stripped%s", path.name, best, left_out)
    return {name.removeprefix(best): tensor for name, tensor in tensors.items() if name.startswith(best)}


def _cuts(name: str) -> Iterator[tuple[str, str]]:
    """Yield every way to cut a dotted name into a prefix, with its dot, and a rest."""
    yield "", name
    for dot in re.finditer(r"\.", name):
        yield name[: dot.end()], name[dot.end() :]


def _not_there(path: Place) -> str:
    if isinstance(path, Path) and path.is_dir():
        inner = "; it holds best/: give that folder" if (path / "best" / CHECKPOINT_FILE).is_file() else ""
        return (
            f"weights must be a file, or a checkpoint folder of Thaw with {CHECKPOINT_FILE}, got the folder {path}"
            f"{inner or '; give a file in it'}"
        )
    files = path.parent.iterdir() if path.parent.is_dir() else ()
    there = sorted(file.name for file in files if file.suffix in ENDINGS)
    found = f"the folder holds {', '.join(there[:8])}" if there else "the folder holds no weights"
    return f"weights file must exist, got none at {path}; {found}: put it there, or choose other weights"


def _some(names: list[str], limit: int = 2) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
