"""Networks and estimators as ONNX models.

The package `onnx` and this module share a name; absolute imports tell them apart.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from densegrad import _validation
from densegrad.export.graph import OLDEST_OPSET, Graph, add_network
from densegrad.export.packages import imported
from densegrad.network import Network

if TYPE_CHECKING:
    from densegrad.estimators import MLPClassifier, MLPRegressor

INPUT, OUTPUT, ROWS = "X", "y", "n_rows"


class _Model(Graph):
    """A graph of its own, built with the package onnx."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        super().__init__(dtype)
        self.onnx = imported("onnx")
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def constant(self, value: NDArray[Any], name: str = "constant") -> str:
        unique = name if name != "constant" else f"constant_{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(value, unique))
        return unique

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        return self._node(operator, inputs, f"{operator.lower()}_{len(self.nodes)}", **attributes)

    def _node(self, operator: str, inputs: tuple[str, ...], result: str, **attributes: Any) -> str:
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [result], **attributes))
        return result

    def add_input(self, name: str, n_columns: int) -> str:
        """Add the rows."""
        self.inputs.append(self.onnx.helper.make_tensor_value_info(name, self.real, [ROWS, n_columns]))
        return name

    def add_output(self, result: str, name: str, element: int, shape: tuple[int, ...]) -> None:
        """Make a node's result a result of the model, under another name."""
        self._node("Identity", (result,), name)
        self.outputs.append(self.onnx.helper.make_tensor_value_info(name, element, [ROWS, *shape]))

    def finished(self, opset: int, metadata: dict[str, str]) -> Any:
        """Return the model, checked by onnx."""
        helper = self.onnx.helper
        graph = helper.make_graph(self.nodes, "densegrad", self.inputs, self.outputs, self.constants)
        opsets = [helper.make_opsetid("", opset)]
        model = helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=helper.find_min_ir_version_for(opsets),
            producer_name="densegrad",
            producer_version=version("densegrad"),
        )
        helper.set_model_props(model, metadata)
        self.onnx.checker.check_model(model, full_check=True)
        return model


def to_onnx(
    model: Network | MLPClassifier | MLPRegressor,
    *,
    opset: int | None = None,
    dtype: str | None = None,
) -> Any:
    """Return a network or a fitted estimator as an ONNX model.

    The input is named ``X``, of shape (n_rows, n_inputs). The outputs are:

    - Network: ``y``, the result of `predict`.
    - MLPRegressor: ``variable``, the result of `predict`, but with one column for one target. With the loss
      'gaussian_nll' also ``std``, the standard deviations.
    - MLPClassifier: ``label``, the result of `predict`, and ``probabilities``, that of `predict_proba`.
      With a hinge loss ``decision_function`` takes the place of ``probabilities``.

    Labels are strings or int64; Booleans and whole floats become int64. Dropout has no part in predictions.
    For a Pipeline, see `register_converters`.

    Parameters
    ----------
    model : Network, MLPClassifier or MLPRegressor
    opset : int or None, default None
        The version of ONNX's operators, at least 13. None stands for the newest that the package onnx knows.
    dtype : {"float32", "float64"} or None, default None
        The precision of input, weights and outputs. None stands for that of the network. Float32 runs
        everywhere; few runtimes have float64.

    Returns
    -------
    onnx.ModelProto
        Checked by `onnx.checker`. Its metadata has the description of the network, under
        ``densegrad.network``.

    Raises
    ------
    ImportError
        If the package onnx is missing.
    ValueError, TypeError
        If an argument is not as described, the estimator is not fitted, or its classes are neither
        integers nor strings.
    """
    onnx = imported("onnx")
    newest = onnx.defs.onnx_opset_version()
    opset = newest if opset is None else _validation.integer("opset", opset, OLDEST_OPSET, newest)
    if isinstance(model, Network):
        network = _in_precision(model, dtype)
        graph = _Model(network.dtype)
        y = add_network(graph, network, graph.add_input(INPUT, network.n_inputs))
        graph.add_output(y, OUTPUT, graph.real, (network.layers[-1].units,))
    else:
        graph, network = _estimator_graph(model, dtype)
    return graph.finished(opset, {"densegrad.network": json.dumps(network.spec.to_json())})


def _in_precision(network: Network, dtype: str | None) -> Network:
    return (
        network if dtype is None or network.dtype == _validation.float_dtype(dtype) else network.astype(dtype)
    )


def _estimator_graph(model: Any, dtype: str | None) -> tuple[_Model, Network]:
    from densegrad.estimators import MLPClassifier, MLPRegressor
    from densegrad.export.predictions import Form, add_estimator, outputs

    if not isinstance(model, (MLPClassifier, MLPRegressor)):
        advice = ""
        if hasattr(model, "named_steps"):
            advice = ". For a Pipeline, call densegrad.export.register_converters() and then skl2onnx.to_onnx"
        elif type(model).__name__.startswith("Tabular"):
            advice = ", which reads its columns in Python. Save it by its `save`"
        elif hasattr(model, "network"):
            advice = ". Give its `network`"
        raise TypeError(
            f"model must be a Network, MLPClassifier or MLPRegressor; got {type(model).__name__}{advice}"
        )
    if not model.__sklearn_is_fitted__():
        raise ValueError(f"model must be fitted; call fit of the {type(model).__name__} first")
    network = _in_precision(model.network_, dtype)
    graph = _Model(network.dtype)
    x = graph.add_input(INPUT, network.n_inputs)
    described = outputs(model, graph.real, Form())
    results = add_estimator(graph, model, network, x, Form())
    for result, output in zip(results, described, strict=True):
        graph.add_output(result, output.name, output.element, output.shape)
    return graph, network
