"""Weights from files: whose layout they have, which part of them is the model, and whether they fit it.

Nothing in a file is run: safetensors holds tensors alone, and pickles are read by torch's own reader that makes tensors
and plain containers and refuses everything else.
"""

import contextlib
import logging
import pickletools
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from search_spaces.errors import InvalidInput
from search_spaces.permissions import check_readable
from trainables.config import TrialConfig
from trainables.model.stages import classifier_parameters

log = logging.getLogger(__name__)

# What a checkpoint folder of Thaw calls its tensors.
CHECKPOINT_FILE = "model.safetensors"
TORCH_ENDINGS = (".pth", ".pt", ".ckpt", ".bin", ".tar")
ENDINGS = (".safetensors", *TORCH_ENDINGS)
# Where scripts and Lightning keep the state dict among epoch, optimiser and hyperparameters.
STATE_DICT_KEYS = ("state_dict", "model_state_dict", "model")

# What every state dict names in order to be read, and what is allowed beside it: no harm in either.
_HARMLESS = re.compile(
    r"torch\.(_utils\.)?\w+|collections\.(OrderedDict|Counter|defaultdict)|numpy\.dtype|numpy\.dtypes\.\w+"
    r"|numpy\._?core\.multiarray\.scalar|(__builtin__|builtins)\.(set|bytearray|complex)|_codecs\.encode"
)


def weights_path(config: TrialConfig) -> Path | None:
    """Return the file or checkpoint folder the weights come from; None for random weights and for timm's hub."""
    if config.weights == "none":
        return None
    if config.weights != "pretrained":
        return Path(config.weights)
    if config.data.weights_dir is None:
        return None
    return config.data.weights_dir / f"{config.architecture}.safetensors"


def weights_file(path: Path) -> Path:
    """Find the file of weights at `path`, or in the checkpoint folder there; raises InvalidInput when there is none."""
    check_readable(path)
    file = path / CHECKPOINT_FILE if path.is_dir() else path
    check_readable(file)
    if not file.is_file():
        raise InvalidInput(_not_there(path))
    return file


def load_weights(model: nn.Module, architecture: str, path: Path) -> None:
    """Load a file in timm's key layout; only a head of another size or form is replaced, with a message.

    A prefix of the keys (`model.`, `module._orig_mod.`, ...) is stripped, the one under which most of them fit; what
    lies outside it, a loss or a metric, is left out, with a message. Everything else is strict. Raises InvalidInput
    when the file is missing or unreadable, when it would run code, and when it belongs to another architecture.
    """
    own = model.state_dict()
    tensors = _strip_prefix(read_weights(path), own, path)
    head = classifier_parameters(model)
    replaced = any(name not in tensors or tensors[name].shape != own[name].shape for name in head)
    if replaced:
        modules = {name.rpartition(".")[0] + "." for name in head}
        foreign = [name for name in tensors.keys() - own.keys() if any(map(name.startswith, modules))]
        for name in (*head, *foreign):
            tensors.pop(name, None)
    missing = sorted(own.keys() - tensors.keys() - head)
    unexpected = sorted(tensors.keys() - own.keys())
    reshaped = sorted(name for name in own.keys() & tensors.keys() if own[name].shape != tensors[name].shape)
    if missing or unexpected or reshaped:
        details = [
            f"{len(names)} keys {what} ({_some(names)})"
            for names, what in ((missing, "missing"), (unexpected, "unexpected"), (reshaped, "of another shape"))
            if names
        ]
        raise InvalidInput(
            f"weights must fit the architecture {architecture}, got {path}: {'; '.join(details)}; "
            "give the file of this architecture, or set architecture to the one it was made for"
        )
    model.load_state_dict(tensors, strict=False)
    if replaced:
        log.info("%s: the head is replaced by a new one of %d classes", path.name, model.num_classes)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the state dict in a file, or in a checkpoint folder of Thaw, on the CPU; all else in it is ignored.

    A file is .safetensors, or what torch.save wrote: a state dict, or a mapping with one under `state_dict`, `model` or
    `model_state_dict`, such as Lightning's .ckpt. Raises InvalidInput when it is missing, when it is nothing of these,
    and, without having run any of it, when it is a pickle of more than tensors and plain values.
    """
    file = weights_file(path)
    if file.suffix not in ENDINGS:
        raise InvalidInput(f"weights file must end in {', '.join(ENDINGS)}, got {file}; rename or convert it")
    if file.suffix in TORCH_ENDINGS:
        return _state_dict(_read_pickle(file), file)
    try:
        return load_file(file)
    except SafetensorError as error:
        raise InvalidInput(
            f"weights must be a .safetensors file, got {file} ({error}); convert it with safetensors.torch.save_file"
        ) from error


def _read_pickle(file: Path) -> Any:
    # Scripts keep their best accuracy as a scalar of numpy's; such a scalar is a type and its bytes.
    kinds = [getattr(np.dtypes, name) for name in np.dtypes.__all__]
    scalar: Any = np.float64(0).__reduce__()[0]
    names = [(scalar, f"numpy.{package}.multiarray.scalar") for package in ("core", "_core")]
    allowed: list[Any] = [np.dtype, *kinds, *names]
    with warnings.catch_warnings(), torch.serialization.safe_globals(allowed):
        warnings.simplefilter("ignore")
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # A damaged file fails in whatever opcode, record or tensor the damage is in.
            wanted = sorted({name for name in _globals(file) if not _HARMLESS.fullmatch(name)})
            if wanted:
                raise InvalidInput(
                    f"weights must hold tensors only, got {file}, a pickle that wants to load {_some(wanted, 5)}, "
                    "which could run code: nothing of it was run; where you trust the file, load it in a script of "
                    "your own and save model.state_dict() alone, best with safetensors.torch.save_file"
                ) from None
            reason = (str(error).splitlines() or [""])[0][:120]
            raise InvalidInput(
                f"weights must be a file that torch.save wrote, got {file} ({type(error).__name__}: {reason}); "
                "it may be damaged, or TorchScript: save model.state_dict() anew"
            ) from error


def _state_dict(value: Any, file: Path) -> dict[str, Tensor]:
    inner = [value[key] for key in STATE_DICT_KEYS if key in value] if isinstance(value, Mapping) else []
    for candidate in (*inner, value):
        if isinstance(candidate, Mapping):
            tensors = {str(key): entry for key, entry in candidate.items() if isinstance(entry, Tensor)}
            # Lightning's metrics and some quantised layers keep plain values among the tensors.
            if tensors and len(tensors) * 2 > len(candidate):
                return tensors
    found = f"a mapping of {_some(sorted(map(str, value)), 8)}" if isinstance(value, Mapping) else type(value).__name__
    raise InvalidInput(
        f"weights must be a state dict, or hold one under {', '.join(STATE_DICT_KEYS)}, got {file}: {found}; "
        "save model.state_dict() alone"
    )


def _strip_prefix(tensors: dict[str, Tensor], own: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
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


def _globals(file: Path) -> set[str]:
    """Dotted names of everything that the pickles in a file want to import, found without running any of them."""
    found: set[str] = set()
    with contextlib.suppress(Exception), contextlib.ExitStack() as stack:
        streams: list[Any] = []
        if zipfile.is_zipfile(file):
            archive = stack.enter_context(zipfile.ZipFile(file))
            streams += [stack.enter_context(archive.open(n)) for n in archive.namelist() if n.endswith(".pkl")]
        else:
            streams.append(stack.enter_context(file.open("rb")))
        for stream in streams:
            with contextlib.suppress(Exception):  # the end of the pickles, or of what can be understood of them
                while True:
                    _scan(stream, found)
    return found


def _scan(stream: Any, found: set[str]) -> None:
    """Add to `found` what the next pickle of `stream` imports."""
    strings: list[str] = []
    memo: dict[int, str] = {}
    memoized = 0
    operations: Iterator[tuple[Any, Any, Any]] = pickletools.genops(stream)
    for opcode, argument, _ in operations:
        match opcode.name:
            case "GLOBAL" | "INST":
                found.add(argument.replace(" ", "."))
            case "STACK_GLOBAL":
                found.add(".".join(strings[-2:]))
            case "MEMOIZE":
                memo[memoized] = strings[-1] if strings else ""
                memoized += 1
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                memo[argument] = strings[-1] if strings else ""
                memoized += 1
            case "BINGET" | "LONG_BINGET" | "GET":
                strings.append(memo.get(argument, ""))
            case _ if isinstance(argument, str):
                strings.append(argument)


def _not_there(path: Path) -> str:
    if path.is_dir():
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
