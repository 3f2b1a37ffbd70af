"""Converters that let skl2onnx convert pipelines with densegrad's estimators."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad.estimators import MLPClassifier, MLPRegressor
from densegrad.export.graph import OLDEST_OPSET, Graph
from densegrad.export.packages import imported
from densegrad.export.predictions import Form, add_estimator, outputs


class _PipelineGraph(Graph):
    """The part of a graph of skl2onnx that belongs to an estimator."""

    def __init__(self, dtype: np.dtype[Any], scope: Any, container: Any) -> None:
        super().__init__(dtype)
        self.scope = scope
        self.container = container

    def constant(self, value: NDArray[Any], name: str = "constant") -> str:
        unique: str = self.scope.get_unique_variable_name(name)
        elements = {"float32": self.FLOAT, "float64": self.DOUBLE, "int64": self.INT64, "object": self.STRING}
        values = value.ravel()
        content = [text.encode() for text in values] if value.dtype == object else values
        self.container.add_initializer(unique, elements[value.dtype.name], list(value.shape), content)
        return unique

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        result: str = self.scope.get_unique_variable_name(operator.lower())
        self.add(operator, inputs, result, **attributes)
        return result

    def add(self, operator: str, inputs: tuple[str, ...], result: str, **attributes: Any) -> None:
        """Add a node whose result has a given name."""
        name = self.scope.get_unique_operator_name(operator)
        self.container.add_node(operator, list(inputs), result, name=name, **attributes)


def register_converters() -> None:
    """Let skl2onnx convert `MLPClassifier` and `MLPRegressor`, also inside pipelines.

    Call it once before `skl2onnx.to_onnx`; further calls change nothing. The graph computes in the precision
    of its input: give rows of float32 to get a model of float32.

    The options of skl2onnx for these estimators are:

    - MLPClassifier: ``zipmap``, ``output_class_labels`` and ``nocl``, as for the classifiers of scikit-learn.
      With a hinge loss, ``probabilities`` are the margins: of two classes, -m and m.
    - MLPRegressor: ``return_std``, which adds the output ``std`` to a fit with the loss 'gaussian_nll'.

    Raises
    ------
    ImportError
        If the package skl2onnx is missing.
    """
    skl2onnx = imported("skl2onnx")
    skl2onnx.update_registered_converter(
        MLPClassifier,
        "DensegradMLPClassifier",
        _set_output_types,
        _convert,
        options={
            "zipmap": [True, False, "columns"],
            "output_class_labels": [False, True],
            "nocl": [True, False],
        },
    )
    skl2onnx.update_registered_converter(
        MLPRegressor,
        "DensegradMLPRegressor",
        _set_output_types,
        _convert,
        parser=_parse_regressor,
        options={"return_std": [False, True]},
    )


def _parse_regressor(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:
    """Declare a regressor's operator with its results."""
    guess_tensor_type = imported("skl2onnx.common.data_types").guess_tensor_type
    operator = scope.declare_local_operator("DensegradMLPRegressor", model)
    operator.inputs = inputs
    for output in outputs(model, Graph.FLOAT, _form(scope, model)):
        operator.outputs.append(scope.declare_local_variable(output.name, guess_tensor_type(inputs[0].type)))
    return operator.outputs


def _form(scope: Any, model: Any) -> Form:
    """Return the form that the options of skl2onnx ask for."""
    if isinstance(model, MLPClassifier):
        numbered = scope.get_options(model, {"nocl": False})["nocl"]
        return Form(two_margins=True, numbered=numbered)
    std = scope.get_options(model, {"return_std": False})["return_std"]
    if std and model.network_.loss != "gaussian_nll":
        raise ValueError(
            f"return_std=True needs a fit with loss='gaussian_nll'; got loss={model.network_.loss!r}"
        )
    return Form(std=std)


def _set_output_types(operator: Any) -> None:
    """Set types and shapes of an operator's results."""
    types = imported("skl2onnx.common.data_types")
    of_element = {
        Graph.FLOAT: types.FloatTensorType,
        Graph.DOUBLE: types.DoubleTensorType,
        Graph.INT64: types.Int64TensorType,
        Graph.STRING: types.StringTensorType,
    }
    n_rows = operator.inputs[0].get_first_dimension()
    model = operator.raw_operator
    described = outputs(model, _element(operator), _form(operator.scope_inst, model))
    for variable, output in zip(operator.outputs, described, strict=True):
        variable.set_type(of_element[output.element]([n_rows, *output.shape]))


def _element(operator: Any) -> int:
    """Return the element type that an operator computes in: float64 if an input is, otherwise float32."""
    types = imported("skl2onnx.common.data_types")
    for column in operator.inputs:
        if isinstance(column.type, types.StringTensorType):
            raise ValueError(
                f"the input {column.raw_name!r} of {type(operator.raw_operator).__name__} must be numbers;"
                " got strings. Encode them in an earlier step of the pipeline"
            )
    is_double = any(isinstance(column.type, types.DoubleTensorType) for column in operator.inputs)
    return Graph.DOUBLE if is_double else Graph.FLOAT


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Add an estimator to a graph."""
    opset = container.target_opset_any_domain("")
    if opset < OLDEST_OPSET:
        raise ValueError(
            f"target_opset must be at least {OLDEST_OPSET} for densegrad's estimators; got {opset}"
        )
    model = operator.raw_operator
    element = _element(operator)
    network = model.network_.astype("float64" if element == Graph.DOUBLE else "float32")
    g = _PipelineGraph(network.dtype, scope, container)
    columns = [g.node("Cast", column.full_name, to=element) for column in operator.inputs]
    x = g.node("Concat", *columns, axis=1) if len(columns) > 1 else columns[0]
    results = add_estimator(g, model, network, x, _form(scope, model))
    for result, variable in zip(results, operator.outputs, strict=True):
        g.add("Identity", (result,), variable.full_name)
