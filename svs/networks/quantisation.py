"""Networks as small files: weights of 8 bits, with a scale for each output channel.

ONNX Runtime makes float32 of them when it loads the file (`svs.networks.inference`), so they cost no speed.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

_OUTPUTS = {"Conv": 0, "ConvTranspose": 1, "MatMul": -1, "Gemm": -1}  # axis of the output channels in the weights
_STEPS = 127  # on either side of 0
_SMALL = 110_000  # weights of an array that stays as it is: first and last layers are small and sensitive


def in_8_bits(model: bytes) -> bytes:
    """A network whose large kernels and matrices are kept in 8 bits; the same network gives the same bytes.

    Each weight is at most half a step off, and a step is 1/127 of the largest weight of its output channel.  Other
    arrays (small kernels, biases, normalisation) stay as they are.

    Parameters
    ----------
    model : bytes
        ONNX, its weights float32.
    """
    made = onnx.load_model_from_string(model)
    graph = made.graph
    axes = {node.input[1]: _OUTPUTS[node.op_type] for node in graph.node if node.op_type in _OUTPUTS}
    arrays, nodes = [], []
    for each in graph.initializer:
        small = len(each.dims) < 2 or np.prod(each.dims) <= _SMALL
        if each.name not in axes or small or each.data_type != onnx.TensorProto.FLOAT:
            arrays.append(each)
            continue
        weights, axis = numpy_helper.to_array(each), axes[each.name] % len(each.dims)
        others = tuple(number for number in range(weights.ndim) if number != axis)
        step = np.maximum(np.abs(weights).max(axis=others), np.finfo(np.float32).tiny) / np.float32(_STEPS)
        whole = np.rint(weights / np.expand_dims(step, others)).astype(np.int8)
        kept, scale = f"{each.name}_8_bits", f"{each.name}_step"
        arrays += [numpy_helper.from_array(whole, kept), numpy_helper.from_array(step.astype(np.float32), scale)]
        nodes.append(helper.make_node("DequantizeLinear", [kept, scale], [each.name], axis=axis))
    del graph.initializer[:]
    graph.initializer.extend(arrays)
    nodes += list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)
    return made.SerializeToString(deterministic=True)
