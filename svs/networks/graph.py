"""ONNX graphs, built node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

Shape = Sequence[int | str | None]  # of a tensor; None or a name is a size that is free
_OPSET, _IR = 17, 8  # read by every ONNX Runtime since 1.14 (2023)


class Graph:
    """An ONNX graph that grows node by node; tensors are named by their order."""

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._arrays: list[TensorProto] = []

    def array(self, value: Any) -> str:
        """The name of a constant: float32, or int64 if the value is one of integers."""
        value = np.asarray(value)
        self._arrays.append(
            numpy_helper.from_array(
                np.ascontiguousarray(value, np.int64 if value.dtype.kind == "i" else np.float32),
                f"w{len(self._arrays)}",
            )
        )
        return self._arrays[-1].name

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; the name of its output."""
        output = f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def serialized(self, inputs: Mapping[str, Shape], output: str, shape: Shape) -> bytes:
        """The graph as a file, in which the tensor `output` has that name; the same graph gives the same bytes."""
        self._nodes.append(helper.make_node("Identity", [output], ["output"]))
        graph = helper.make_graph(
            self._nodes,
            "svs",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in inputs.items()],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
            self._arrays,
        )
        opset = helper.make_opsetid("", _OPSET)
        return helper.make_model(graph, ir_version=_IR, opset_imports=[opset]).SerializeToString(deterministic=True)
