"""A graph of ONNX operators under construction. Values are names."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8  # what ONNX 1.12 writes, the first with operator set 17
TYPES = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.float64): TensorProto.DOUBLE,
         np.dtype(np.int64): TensorProto.INT64, np.dtype(np.int32): TensorProto.INT32,
         np.dtype(bool): TensorProto.BOOL}


class Graph:
    """Nodes and constants; a body of a loop shares names and constants with the graph around it."""

    def __init__(self, around: Graph | None = None):
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = around.initializers if around else []
        self.numbers = around.numbers if around else itertools.count()
        self.known = around.known if around else {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def name(self, stem: str) -> str:
        return f"{stem}_{next(self.numbers)}"

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes) -> str | list[str]:
        """Adds a node; its output, or all of them where there are several."""
        names = [self.name(kind.lower()) for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def floats(self, values, stem: str = "constant") -> str:
        """A constant in single precision."""
        return self.constant(np.asarray(values, np.float32), stem)

    def integers(self, *values: int) -> str:
        """A constant vector of integers."""
        return self.constant(np.array(values, np.int64), "integers")

    def integer(self, value: int) -> str:
        """A constant integer."""
        return self.constant(np.array(value, np.int64), "integer")

    def constant(self, values: np.ndarray, stem: str) -> str:
        """A constant; equal small ones are one."""
        key = (str(values.dtype), values.shape, values.tobytes()) if values.size < 16 else None
        if key in self.known:
            return self.known[key]
        name = self.name(stem)
        # Not `ascontiguousarray`, which makes a vector of a number.
        self.initializers.append(numpy_helper.from_array(np.array(values, order="C"), name))
        if key is not None:
            self.known[key] = name
        return name

    def input(self, name: str, dtype, shape: list | None) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, TYPES[np.dtype(dtype)], shape))
        return name

    def output(self, value: str, name: str, dtype, shape: list | None) -> None:
        """Makes `value` an output called `name`."""
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, TYPES[np.dtype(dtype)], shape))

    # -- what is needed often -----------------------------------------------------------------

    def cast(self, value: str, dtype) -> str:
        return self.op("Cast", value, to=TYPES[np.dtype(dtype)])

    def unsqueeze(self, value: str, *axes: int) -> str:
        return self.op("Unsqueeze", value, self.integers(*axes))

    def concat(self, *values: str, axis: int) -> str:
        return values[0] if len(values) == 1 else self.op("Concat", *values, axis=axis)

    def expand(self, value: str, *sizes: int | str) -> str:
        """`value` repeated to the sizes, which are numbers or vectors of one number."""
        vectors = [self.integers(size) if isinstance(size, int) else size for size in sizes]
        return self.op("Expand", value, self.concat(*vectors, axis=0))

    def scan(self, body: Graph, states: list[str], sequences: list[str]) -> list[str]:
        """Runs `body` for every step of the sequences: the last states, then stacked outputs."""
        graph = helper.make_graph(body.nodes, self.name("body"), body.inputs, body.outputs)
        return self.op(
            "Scan", *states, *sequences, outputs=len(body.outputs), body=graph,
            num_scan_inputs=len(sequences))

    def model(self, name: str, metadata: dict[str, str]) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.initializers)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
            producer_name="lockstep")
        helper.set_model_props(model, metadata)
        return model
