"""An ONNX graph that grows layer by layer and in which every blob of Caffe's keeps its name."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from base.errors import InputError
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2

OPSET = 17
IR_VERSION = 8  # the format of files that came with this opset
BATCH = "batch"  # the name of the dimension that may be any size

Shape = tuple[int | None, ...]  # None where a dimension changes with the batch


class Graph:
    """Nodes, constants, and which value each blob holds.

    A layer that works in place gives its blob a new value: ONNX assigns each value once. The blob's last value gets its name,
    as that is what Caffe shows after a forward pass.
    """

    def __init__(self, blobs: Iterable[str] = ()) -> None:
        self.blobs: dict[str, str] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._by_memory: dict[tuple, str] = {}  # weights that several layers share are written once
        self._kept: list[NDArray] = []  # or their memory might come to belong to others
        self._names = set(blobs)  # what lies between the blobs must not take their names

    def input(self, name: str, shape: Shape, dtype: int = TensorProto.FLOAT) -> str:
        """Declare an input, which keeps its name even where layers work on it in place."""
        self.inputs.append(value_info(name, shape, dtype))
        return name

    def constant(self, values: NDArray, name: str) -> str:
        """The name of an array in the file."""
        values = np.asarray(values, order="C")
        memory = values.__array_interface__["data"][0], values.shape, values.dtype
        if memory not in self._by_memory:
            self._by_memory[memory] = self._unique(name)
            self._kept.append(values)
            self._constants.append(numpy_helper.from_array(values, self._by_memory[memory]))
        return self._by_memory[memory]

    def node(self, op: str, inputs: Iterable[str], name: str, outputs: int = 1, **attributes: object) -> list[str]:
        """Add a node; return the names of its outputs."""
        tops = [self._unique(f"{name}:{op}") for _ in range(outputs)]
        self._nodes.append(helper.make_node(op, list(inputs), tops, self._unique(f"{name}/{op}"), **attributes))
        return tops

    def model(self, outputs: dict[str, Shape]) -> onnx.ModelProto:
        """The whole as a model whose outputs are these blobs, by their names."""
        self._name_blobs()
        graph = helper.make_graph(self._nodes, "net", self.inputs,
                                  [value_info(self.blobs[blob], shape) for blob, shape in outputs.items()], self._constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)

    def _name_blobs(self) -> None:
        inputs = {value.name for value in self.inputs}
        free = {value for node in self._nodes for value in node.output}  # not yet named for a blob
        names = {}
        for blob, value in self.blobs.items():
            if blob in inputs:  # the name is the input's; what layers made of it in place keeps its own
                continue
            if value not in free:
                [value] = self.node("Identity", [value], blob)
            free.discard(value)
            names[value] = self.blobs[blob] = blob
        for node in self._nodes:
            for values in node.input, node.output:
                values[:] = [names.get(value, value) for value in values]

    def _unique(self, name: str) -> str:
        number, given = 1, name
        while name in self._names:
            number += 1
            name = f"{given}.{number}"
        self._names.add(name)
        return name


def value_info(name: str, shape: Shape, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """An input or output; the first dimension is called BATCH where it changes."""
    return helper.make_tensor_value_info(
        name, dtype, [BATCH if size is None and not axis else size for axis, size in enumerate(shape)])


@dataclass
class Layer:
    """A layer that is to become nodes.

    Attributes
    ----------
    param : caffe_pb2.LayerParameter
    blobs : list of numpy.ndarray
        Its weights, float32, in Caffe's shapes.
    bottom : list of str
        The values that it reads.
    shapes, top_shapes : list of tuple
        Of the bottoms and of the tops, as Caffe has them.
    graph : Graph
    """

    param: pb.LayerParameter
    blobs: list[NDArray[np.float32]]
    bottom: list[str] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)
    top_shapes: list[Shape] = field(default_factory=list)
    graph: Graph = field(default_factory=Graph)

    def add(self, op: str, *inputs: str | NDArray | np.generic | Iterable[int], **attributes: object) -> str:
        """Add a node with one output. Inputs that are no names become constants: arrays as they are, integers as int64."""
        return self.add_many(op, *inputs, outputs=1, **attributes)[0]

    def add_many(self, op: str, *inputs: str | NDArray | np.generic | Iterable[int], outputs: int,
                 **attributes: object) -> list[str]:
        """The same for a node with several outputs."""
        return self.graph.node(op, [self._name(value) for value in inputs], self.param.name, outputs, **attributes)

    def _name(self, value: str | NDArray | np.generic | Iterable[int]) -> str:
        if isinstance(value, str):
            return value
        if not isinstance(value, np.ndarray | np.generic):
            value = np.array(value, np.int64)
        for number, blob in enumerate(self.blobs):
            if value is blob:
                return self.graph.constant(blob, f"{self.param.name}:{number}")  # as its number in the caffemodel
        return self.graph.constant(np.asarray(value), f"{self.param.name}:constant")

    def axis(self, number: int, bottom: int = 0) -> int:
        """An axis of a bottom, which may be counted from the end, counted from the beginning."""
        return number % len(self.shapes[bottom]) if self.shapes[bottom] else 0

    def reshape(self, value: str, old: Shape, new: Shape) -> str:
        """A value in another shape, of which one dimension may change with the batch."""
        if old == new:
            return value
        if new.count(None) > 1:
            self.refuse("several dimensions of its output change with the batch")
        return self.add("Reshape", value, [-1 if size is None else size for size in new])

    def refuse(self, why: str) -> NoReturn:
        raise InputError(f"layer '{self.param.name}' ({self.param.type}) cannot be written as ONNX: {why}")
