"""Networks of Keras and torch as ONNX: the same weights give the same bytes.

ONNX Runtime convolves fastest with channels first, and Keras keeps them last.  So a tensor has the axes of Keras in an
order of its own: a layer that permutes axes just renames them, and a transposition stands only where a layer needs
another order.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from svs.errors import ModelError
from svs.networks.graph import Graph

if TYPE_CHECKING:
    import keras
    import torch


class Tensor(NamedTuple):
    """The name of a tensor in the graph, and for each of its axes the axis of Keras."""

    name: str
    order: tuple[int, ...]


def of_torch(module: torch.nn.Module, shape: Sequence[int]) -> bytes:
    """A module of one input and one output, in inference; `shape` is that of its input without the batch."""
    import torch

    file: Any = io.BytesIO()
    training = module.training
    # Torch's newer exporter takes seconds, and a package more.
    options: dict[str, Any] = {"dynamo": False, "input_names": ["input"], "output_names": ["output"]}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            free = {"input": {0: "n"}, "output": {0: "n"}}
            torch.onnx.export(module.eval(), (torch.zeros(2, *shape),), file, dynamic_axes=free, **options)
    finally:
        module.train(training)
    return file.getvalue()


def of_keras(model: keras.Model) -> bytes:
    """A functional or sequential model of one input and one output, channels last.

    Raises
    ------
    ModelError
        It has a layer that is unknown here.
    """
    require_known(model)
    walk, tensors = _Walk(), dict[int, Tensor]()
    for operation in _operations(model):
        for node in operation._inbound_nodes:
            inputs = [tensors[id(each)] for each in node.input_tensors if id(each) in tensors]
            if not node.input_tensors:
                tensors[id(node.outputs[0])] = Tensor("input", tuple(range(len(node.outputs[0].shape))))
            elif len(inputs) == len(node.input_tensors):  # otherwise a use of the layer in another model
                tensors[id(node.outputs[0])] = walk.layer(operation, inputs)
    result = model.outputs[0]
    name = walk.ordered(tensors[id(result)], range(len(result.shape))).name
    return walk.graph.serialized({"input": model.inputs[0].shape}, name, result.shape)


def require_known(model: keras.Model) -> None:
    """Raise ModelError if a layer of a model is unknown here."""
    for layer in _operations(model):
        kind, activation = type(layer).__name__, _activation(layer)
        if kind not in _LAYERS or activation not in _ACTIVATIONS:
            raise ModelError(
                f"{model.name}: the layer {layer.name} ({kind}, activation {activation}) has no form in ONNX here; "
                f"expected {', '.join(_LAYERS)} with {', '.join(_ACTIVATIONS)}, or a network of torch"
            )


def _operations(model: keras.Model) -> list[Any]:
    """Layers, and operations such as a slice, each after its inputs."""
    return getattr(model, "_functional", model).operations  # the functional model of a sequential one


def _activation(layer: Any) -> str:
    return getattr(getattr(layer, "activation", None), "__name__", "linear")


class _Walk:
    """Through the layers of a model, each after its inputs; a method for each kind of layers."""

    def __init__(self) -> None:
        self.graph = Graph()

    def layer(self, layer: keras.Layer, inputs: list[Tensor]) -> Tensor:
        result = _LAYERS[type(layer).__name__](self, layer, *inputs)
        for kind in _ACTIVATIONS[_activation(layer)]:
            result = self._node(kind, result)
        return result

    def _node(self, kind: str, tensor: Tensor, *others: str, **attributes: Any) -> Tensor:
        """A node whose output has the axes of its first input."""
        return Tensor(self.graph.node(kind, tensor.name, *others, **attributes), tensor.order)

    def ordered(self, tensor: Tensor, order: Sequence[int]) -> Tensor:
        order = tuple(order)
        if tensor.order == order:
            return tensor
        permutation = [tensor.order.index(axis) for axis in order]
        return Tensor(self.graph.node("Transpose", tensor.name, perm=permutation), order)

    def _first(self, tensor: Tensor, axis: int = -1) -> Tensor:
        """With an axis of Keras, as a rule the channels, next to the batch."""
        axis %= len(tensor.order)
        return self.ordered(tensor, (0, axis, *(each for each in sorted(tensor.order) if each not in (0, axis))))

    def same(self, layer: keras.Layer, tensor: Tensor) -> Tensor:
        return tensor

    def convolution(self, layer: Any, tensor: Tensor) -> Tensor:
        kernel, *bias = layer.get_weights()
        reach = [(size - 1) * step for size, step in zip(kernel.shape, layer.dilation_rate, strict=False)]
        padding: dict[str, Any] = {"pads": [each // 2 for each in reach] + [each - each // 2 for each in reach]}
        if layer.padding == "valid":
            padding = {}
        elif max(layer.strides) > 1:
            padding = {"auto_pad": "SAME_UPPER"}  # which depends on the input's length
        arrays = [self.graph.array(each) for each in (np.moveaxis(kernel, (-1, -2), (0, 1)), *bias)]
        options = {"strides": layer.strides, "dilations": layer.dilation_rate, "group": layer.groups}
        return self._node("Conv", self._first(tensor), *arrays, **options, **padding)

    def transposed(self, layer: Any, tensor: Tensor) -> Tensor:
        kernel, *bias = layer.get_weights()
        over = [size - step for size, step in zip(kernel.shape, layer.strides, strict=False)]
        cut = [max(0, each) if layer.padding == "same" else 0 for each in over]
        arrays = [self.graph.array(each) for each in (np.moveaxis(kernel, (-1, -2), (0, 1)), *bias)]
        options = {"strides": layer.strides, "output_padding": [max(0, -each) for each in over]}
        pads = [each // 2 for each in cut] + [each - each // 2 for each in cut]
        return self._node("ConvTranspose", self._first(tensor), *arrays, pads=pads, **options)

    def dense(self, layer: Any, tensor: Tensor) -> Tensor:
        last = len(tensor.order) - 1
        if tensor.order[-1] != last:
            tensor = self.ordered(tensor, [*(axis for axis in tensor.order if axis != last), last])
        kernel, *bias = (self.graph.array(each) for each in layer.get_weights())
        if last == 1:
            return self._node("Gemm", tensor, kernel, *bias)
        product = self._node("MatMul", tensor, kernel)
        return self._node("Add", product, *bias) if bias else product

    def normalisation(self, layer: Any, tensor: Tensor) -> Tensor:
        *learnt, mean, variance = layer.get_weights()
        scale = learnt.pop(0) if layer.scale else np.ones_like(mean)
        shift = learnt.pop(0) if layer.center else np.zeros_like(mean)
        arrays = [self.graph.array(each) for each in (scale, shift, mean, variance)]
        return self._node("BatchNormalization", self._first(tensor, layer.axis), *arrays, epsilon=layer.epsilon)

    def standardised(self, layer: Any, tensor: Tensor) -> Tensor:
        # As large as the axes after the first two: ONNX Runtime adds many small rows slowly.
        shape = (1, 1, *layer.input.shape[2:])
        mean, variance = (np.asarray(each, np.float64) for each in (layer.mean, layer.variance))
        factor, shift = (np.broadcast_to(each, shape) for each in (variance**-0.5, -mean * variance**-0.5))
        scaled = self._node("Mul", self.ordered(tensor, sorted(tensor.order)), self.graph.array(factor))
        return self._node("Add", scaled, self.graph.array(shift))

    def rescaled(self, layer: Any, tensor: Tensor) -> Tensor:
        scaled = self._node("Mul", tensor, self.graph.array(np.float32(layer.scale)))
        return self._node("Add", scaled, self.graph.array(np.float32(layer.offset))) if layer.offset else scaled

    def padded(self, layer: Any, tensor: Tensor) -> Tensor:
        sides = ((0, 0), (0, 0), *layer.padding)
        pads = [side[end] for end in (0, 1) for side in sides]
        return self._node("Pad", self._first(tensor), self.graph.array(pads))

    def pooled(self, layer: Any, tensor: Tensor) -> Tensor:
        padding = "SAME_UPPER" if layer.padding == "same" else "VALID"
        options = {"kernel_shape": layer.pool_size, "strides": layer.strides, "auto_pad": padding}
        return self._node("MaxPool", self._first(tensor), **options)

    def leaky(self, layer: Any, tensor: Tensor) -> Tensor:
        return self._node("LeakyRelu", tensor, alpha=layer.negative_slope)

    def sum(self, layer: Any, first: Tensor, *others: Tensor) -> Tensor:
        for other in others:
            first = self._node("Add", first, self.ordered(other, first.order).name)
        return first

    def difference(self, layer: Any, first: Tensor, second: Tensor) -> Tensor:
        return self._node("Sub", first, self.ordered(second, first.order).name)

    def concatenated(self, layer: Any, first: Tensor, *others: Tensor) -> Tensor:
        axis = first.order.index(layer.axis % len(first.order))
        return self._node("Concat", first, *(self.ordered(other, first.order).name for other in others), axis=axis)

    def permuted(self, layer: Any, tensor: Tensor) -> Tensor:
        return Tensor(tensor.name, tuple((0, *layer.dims).index(axis) for axis in tensor.order))

    def reshaped(self, layer: Any, tensor: Tensor) -> Tensor:
        shape = [0, *(-1 if size is None else size for size in layer.target_shape)]
        flat = self.ordered(tensor, range(len(tensor.order)))
        return Tensor(self.graph.node("Reshape", flat.name, self.graph.array(shape)), tuple(range(len(shape))))

    def flattened(self, layer: Any, tensor: Tensor) -> Tensor:
        flat = self.ordered(tensor, range(len(tensor.order)))
        return Tensor(self.graph.node("Flatten", flat.name), (0, 1))


_ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "linear": (),
    **{name.lower(): (name,) for name in ("Relu", "Sigmoid", "Tanh", "Elu")},
    "log_sigmoid": ("Neg", "Softplus", "Neg"),
}
_LAYERS: dict[str, Callable[..., Tensor]] = {
    "Activation": _Walk.same,
    "Add": _Walk.sum,
    "BatchNormalization": _Walk.normalisation,
    "Concatenate": _Walk.concatenated,
    "Conv1D": _Walk.convolution,
    "Conv2D": _Walk.convolution,
    "Conv2DTranspose": _Walk.transposed,
    "Dense": _Walk.dense,
    "Dropout": _Walk.same,
    "GaussianNoise": _Walk.same,
    "Flatten": _Walk.flattened,
    "InputLayer": _Walk.same,
    "LeakyReLU": _Walk.leaky,
    "MaxPooling2D": _Walk.pooled,
    "Normalization": _Walk.standardised,
    "Permute": _Walk.permuted,
    "Rescaling": _Walk.rescaled,
    "Reshape": _Walk.reshaped,
    "SpatialDropout2D": _Walk.same,
    "Subtract": _Walk.difference,
    "ZeroPadding2D": _Walk.padded,
}
