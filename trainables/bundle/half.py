"""Weights of an ONNX model stored in half precision: half the size, computed in float32 as before."""

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

# A smaller tensor saves less than the node that widens it takes.
_FEWEST = 256


def store_half(model: Path, out: Path) -> None:
    """Write a copy of a model whose large float32 weights are float16, widened when the model is loaded.

    Weights beyond the range of float16 stay as they are.
    """
    graph = (loaded := onnx.load(model)).graph
    widened, kept = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        is_small = values.size < _FEWEST
        if tensor.data_type != onnx.TensorProto.FLOAT or is_small or np.abs(values).max() > np.finfo(np.float16).max:
            kept.append(tensor)
            continue
        name = f"{tensor.name}.half"
        kept.append(numpy_helper.from_array(values.astype(np.float16), name))
        widened.append(
            onnx.helper.make_node("Cast", [name], [tensor.name], name=f"{tensor.name}.widen", to=onnx.TensorProto.FLOAT)
        )
    nodes = [*widened, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
    onnx.checker.check_model(loaded)
    onnx.save(loaded, out)
