"""A trained policy as an ONNX file: its networks as a graph, its row schema in the metadata.

The graph is written from the weights, so that neither torch nor a run of the network is needed.
Rows come scaled from the environment: the graph takes them as they are.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.files import write_whole
from selfdrive_env.config.installation import package_version
from selfdrive_env.policies.deep_sets import scalars_of, set_plan
from selfdrive_env.policies.files import HEADER, PolicyFile
from selfdrive_env.policies.row_schema import policy_schema

__all__ = ["SCHEMA", "export_onnx", "onnx_model", "run"]

SCHEMA = "selfdrive_env_schema"
"""Key of the model's metadata under which the row schema stands, as JSON."""

OPSET, IR_VERSION = 17, 8
"""Of 2022: the graph needs nothing newer, and older runtimes read it."""


def import_onnx() -> Any:
    """Returns the package onnx.

    Raises:
        ImportError: If it is missing.
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError(
            'exporting a policy needs onnx: pip install "selfdrive_env[onnx]"'
        ) from error
    return onnx


class _Graph:
    """Nodes and constants of a graph; a tensor goes by its name."""

    def __init__(self, file: PolicyFile) -> None:
        self.onnx = import_onnx()
        self.file = file
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Adds a node and returns its output."""
        made = self.onnx.helper.make_node(operator, inputs, [output], name=output, **attributes)
        self.nodes.append(made)
        return output

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Adds a constant and returns its name."""
        self.constants[name] = self.onnx.numpy_helper.from_array(value, name)
        return name

    def weight(self, name: str, *shape: int) -> str:
        """Adds a tensor of the file and returns its name."""
        return self.constant(name, self.file.weight(name, *shape))

    def columns(self, first: int, stop: int, output: str) -> str:
        """Adds the part [B, stop - first] of the rows."""
        bounds = {"first": first, "stop": stop, "axis": 1}
        names = [
            self.constant(f"{output}.{bound}", np.array([value], np.int64))
            for bound, value in bounds.items()
        ]
        return self.node("Slice", ["observations", *names], output)

    def linear(self, x: str, name: str, inputs: int, outputs: int, output: str = "") -> str:
        """Adds W x + b, [B, outputs]."""
        weight = self.weight(f"{name}.weight", outputs, inputs)
        bias = self.weight(f"{name}.bias", outputs)
        return self.node("Gemm", [x, weight, bias], output or f"{name}.linear", transB=1)

    def rectified(self, x: str) -> str:
        """Adds a rectifier."""
        return self.node("Relu", [x], f"{x}.relu")


def _encode(graph: _Graph, number: int) -> tuple[str, int]:
    """Adds an encoder: one layer over the scalars, the largest output of each set's elements.

    Args:
        graph: Is added to.
        number: Of the encoder in the file.

    Returns:
        Name and width of what it gives.
    """
    layout, sizes = graph.file.layout, graph.file.description["sizes"]
    prefix = f"encoders.{number}"
    stop, width = scalars_of(layout).stop, sizes["scalar_width"]
    scalars = graph.columns(0, stop, f"{prefix}.scalars")
    parts = [graph.rectified(graph.linear(scalars, f"{prefix}.scalar", stop, width))]
    names, plan = set_plan(layout)
    for name, (first, count, columns) in zip(names, plan.tolist(), strict=True):
        place = f"{prefix}.elements.{name}"
        shape = graph.constant(f"{place}.shape", np.array([0, columns, count], np.int64))  # 0: B
        x = graph.columns(first, first + count * columns, f"{place}.columns")
        x = graph.node("Reshape", [x, shape], f"{place}.planes")
        x = graph.node("Transpose", [x], f"{place}.slots", perm=[0, 2, 1])
        widths = [columns, *sizes["set_widths"]]
        for layer, inputs in enumerate(widths[:-1]):
            weight = graph.file.weight(f"{place}.{layer}.weight", widths[layer + 1], inputs)
            turned = np.ascontiguousarray(weight.T)
            constant = graph.constant(f"{place}.{layer}.weight.turned", turned)
            x = graph.node("MatMul", [x, constant], f"{place}.{layer}.linear")
            if layer < len(widths) - 2:
                x = graph.rectified(x)
        largest = graph.node("ReduceMax", [x], f"{place}.largest", axes=[1], keepdims=0)
        parts.append(graph.rectified(largest))  # commutes with the maximum
        width += widths[-1]
    return graph.node("Concat", parts, f"{prefix}.code", axis=1), width


def _head(graph: _Graph, name: str, code: tuple[str, int], outputs: int, output: str) -> str:
    """Adds the perceptron behind an encoder, `actor` or `critic`.

    Args:
        graph: Is added to.
        name: Of the head in the file.
        code: What `_encode` returned.
        outputs: Length of the result.
        output: Name of the result.
    """
    x, inputs = code
    for place, width in enumerate(graph.file.description["sizes"]["trunk_widths"]):
        x = graph.rectified(graph.linear(x, f"{name}.trunk.{place}", inputs, width))
        inputs = width
    return graph.linear(x, f"{name}.head", inputs, outputs, output)


def _value(graph: _Graph, code: tuple[str, int]) -> None:
    """Adds the critic: the expected discounted return of each row, `values` [B]."""
    x = _head(graph, "critic", code, 1, "critic.normalized")
    x = graph.node("Mul", [x, graph.weight("value_scale")], "critic.scaled")
    x = graph.node("Add", [x, graph.weight("value_mean")], "critic.column")
    axis = graph.constant("critic.axis", np.array([1], np.int64))
    graph.node("Squeeze", [x, axis], "values")


def onnx_model(file: PolicyFile) -> Any:
    """Returns a policy as an `onnx.ModelProto`.

    Args:
        file: What was read of a policy.

    Raises:
        ImportError: If onnx is missing.
        ValueError: If the file does not fit its own description.
    """
    graph = _Graph(file)
    helper, single = graph.onnx.helper, graph.onnx.TensorProto.FLOAT
    actions = file.description["actions"]
    code = _encode(graph, 0)
    _head(graph, "actor", code, actions, "logits")
    outputs = [helper.make_tensor_value_info("logits", single, ["batch", actions])]
    if "critic.head.weight" in file.weights:
        _value(graph, code if file.description["sizes"]["shared_sets"] else _encode(graph, 1))
        outputs.append(helper.make_tensor_value_info("values", single, ["batch"]))
    rows = helper.make_tensor_value_info("observations", single, ["batch", file.layout.width])
    constants = list(graph.constants.values())
    model = helper.make_model(
        helper.make_graph(graph.nodes, "policy", [rows], outputs, constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="selfdrive_env",
        producer_version=package_version(),
    )
    about = {HEADER: file.description, SCHEMA: policy_schema(file)}
    helper.set_model_props(model, {key: json.dumps(table) for key, table in about.items()})
    return model


def export_onnx(policy: str | os.PathLike[str], path: str | os.PathLike[str]) -> Any:
    """Writes a policy as an ONNX file, whole or not at all; one that is there is replaced.

    Input `observations` float32 [batch, features]; outputs `logits` float32 [batch, actions] and,
    where the policy has a critic, `values` float32 [batch]. The metadata has two tables as JSON:
    `selfdrive_env_schema` with columns, actions and settings of training, `selfdrive_env_policy`
    with the header of the policy file.

    Args:
        policy: As for `load_policy`.
        path: Of the file, which ends in .onnx.

    Returns:
        What was written, an `onnx.ModelProto`.

    Raises:
        ImportError: If onnx is missing.
        OSError: If the file cannot be written.
        ValueError: If the path ends otherwise, or as of `load_policy`.
    """
    if Path(path).suffix != ".onnx":
        raise ValueError(f"output must end in .onnx, got {os.fspath(path)!r}")
    model = onnx_model(PolicyFile.read(policy))
    write_whole(path, model.SerializeToString(deterministic=True))
    return model


def run(parsed: argparse.Namespace) -> int:
    """Writes the file and tells what is in it; returns 0."""
    model = export_onnx(parsed.policy, parsed.output)
    columns = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    given = " and ".join(one.name for one in model.graph.output)
    print(f"wrote {parsed.output}: {given} of rows of {columns} columns")
    return 0
