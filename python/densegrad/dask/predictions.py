"""Predictions of a fitted model for the blocks of a Dask collection."""

from __future__ import annotations

import copy
import math
import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from densegrad.dask.packages import imported
from densegrad.network import Network


class Result(NamedTuple):
    """What a prediction looks like: known before the first block is computed."""

    #: "predict" or "predict_proba".
    method: str
    dtype: np.dtype[Any]
    #: Shape of the prediction of one row.
    shape: tuple[int, ...]
    #: Names of the columns; None if one row has one number.
    columns: list[Any] | None

    def empty(self) -> NDArray[Any]:
        """Return the prediction of no rows."""
        return np.empty((0, *self.shape), self.dtype)


def predict(model: Any, X: Any) -> Any:
    """Predict for each block of a Dask collection, when the result is computed.

    Each block is predicted where it is, by one thread, with the bits of ``model.predict``. Blocks may be
    empty and of unknown size. This works on each of Dask's schedulers.

    Parameters
    ----------
    model : Network, fitted estimator, or Future of one
        An estimator of densegrad, also at the end of a Pipeline or as the best of a search. A Future, which
        ``client.scatter`` gives, saves the way from here to the workers.
    X : dask.array.Array or dask.dataframe.DataFrame
        Of shape (n_rows, n_columns), dense or with blocks of CSR.

    Returns
    -------
    dask.array.Array, dask.dataframe.Series or dask.dataframe.DataFrame
        Not computed. It has the blocks of X. A frame gives a Series, or a DataFrame if a row has several
        numbers, with the index and the divisions of X.

    Raises
    ------
    ImportError
        If Dask is not installed.
    TypeError
        If `X` is no collection of Dask, or `model` is no model of densegrad.
    ValueError
        If `X` does not have the columns of the model.

    See Also
    --------
    predict_proba
    """
    return _predictions("predict", model, X)


def predict_proba(model: Any, X: Any) -> Any:
    """Return the probabilities of the classes for each block of a Dask collection, as `predict` does.

    Parameters
    ----------
    model : fitted classifier, or Future of one
    X : dask.array.Array or dask.dataframe.DataFrame

    Returns
    -------
    dask.array.Array or dask.dataframe.DataFrame
        Not computed; the columns are those of ``model.predict_proba``. Those of a frame have the names of the
        classes.

    Raises
    ------
    ImportError, TypeError, ValueError
        As for `predict`.
    """
    return _predictions("predict_proba", model, X)


def _predictions(method: str, model: Any, X: Any) -> Any:
    dask = imported("dask")
    local = model.result() if hasattr(model, "key") and hasattr(model, "result") else model
    kind = _checked_kind(X)
    result = _result(method, local, X)
    _check_columns(local, X)
    if local is model:
        # One node of the graph, so that the model travels once to each worker.
        model = dask.delayed(_snapshot(model), pure=False, traverse=False)
    return _of_frame(result, model, X) if kind == "frame" else _of_array(result, model, X)


def _result(method: str, model: Any, X: Any) -> Result:
    """Return what the predictions of `model` look like, without a row of X."""
    if isinstance(model, Network):
        if method != "predict":
            raise TypeError(f"{method} needs a classifier; got a Network, whose outputs `predict` gives")
        return Result(method, model.dtype, (model.spec.head.units,), list(range(model.spec.head.units)))
    from sklearn.base import BaseEstimator
    from sklearn.utils.validation import check_is_fitted

    from densegrad.estimators import MLPClassifier, MLPRegressor
    from densegrad.tabular import TabularClassifier, TabularRegressor

    final = _final(model)
    if isinstance(final, BaseEstimator):
        check_is_fitted(final)
    if isinstance(final, (MLPClassifier, MLPRegressor)):
        made_up = np.zeros((1, final.n_features_in_))
    elif isinstance(final, (TabularClassifier, TabularRegressor)) and final is model:
        made_up = _made_up_rows(X)
    else:
        raise TypeError(
            "model must be a Network or a fitted estimator of densegrad, or a Pipeline or search that ends"
            f" with an MLPClassifier or MLPRegressor; got {type(model).__name__}"
        )
    if not hasattr(final, method) and method == "predict_proba" and not hasattr(final, "classes_"):
        raise TypeError(f"{method} needs a classifier; got {type(final).__name__}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the made-up row has no names of columns
        one: NDArray[Any] = getattr(final, method)(made_up)[:1]
    columns: list[Any] | None = None
    if one.ndim > 1:
        columns = list(final.classes_) if method == "predict_proba" else list(range(one.shape[1]))
    return Result(method, one.dtype, one.shape[1:], columns)


def _final(model: Any) -> Any:
    """Return the estimator that gives the predictions: the last step of a Pipeline, the best of a search."""
    while True:
        if hasattr(model, "best_estimator_"):
            model = model.best_estimator_
        elif hasattr(model, "steps"):
            model = model.steps[-1][1]
        else:
            return model


def _made_up_rows(X: Any) -> Any:
    """Return a row or two with the columns of X."""
    if X.ndim == 2 and hasattr(X, "chunks"):
        return np.zeros((1, X.shape[1]), X.dtype)
    meta = imported("dask.dataframe.dispatch")
    return imported("dask.dataframe.utils").meta_nonempty(meta.make_meta(X))


def _checked_kind(X: Any) -> str:
    """Return "array" or "frame"."""
    if not imported("dask").is_dask_collection(X) or getattr(X, "ndim", 0) != 2:
        raise TypeError(
            "X must be a Dask Array of two dimensions or a Dask DataFrame; got"
            f" {type(X).__module__}.{type(X).__name__}. The model's own methods take arrays and frames"
        )
    return "array" if hasattr(X, "chunks") else "frame"


def _check_columns(model: Any, X: Any) -> None:
    """Raise ValueError if X has another number of columns than the model; each block checks their names."""
    wanted = model.n_inputs if isinstance(model, Network) else model.n_features_in_
    if not math.isnan(X.shape[1]) and X.shape[1] != wanted:
        raise ValueError(f"X must have {wanted} columns, as the model was fitted with; got {X.shape[1]}")


def _snapshot(model: Any) -> Any:
    """Return a copy, which later training does not change, that predicts a block on one thread."""
    model = copy.deepcopy(model)
    if getattr(model, "n_threads", 1) is None:
        model.n_threads = 1
    return model


def _of_array(result: Result, model: Any, X: Any) -> Any:
    if X.numblocks[1] > 1:
        X = X.rechunk({1: -1})
    axes: dict[str, Any] = {"chunks": (X.chunks[0], *((n,) for n in result.shape))}
    if len(result.shape) == 0:
        axes["drop_axis"] = 1
    elif len(result.shape) == 2:
        axes["new_axis"] = 2
    return X.map_blocks(_block, model=model, result=result, dtype=result.dtype, meta=result.empty(), **axes)


def _of_frame(result: Result, model: Any, X: Any) -> Any:
    if len(result.shape) > 1:
        raise ValueError(
            f"a row has predictions of shape {result.shape}, which no frame can hold:"
            " give X.to_dask_array(), whose result is an array"
        )
    meta = _framed(result, result.empty(), imported("dask.dataframe.dispatch").make_meta(X).index[:0])
    return X.map_partitions(_partition, model=model, result=result, meta=meta)


# Blocks, on the workers.


def _block(rows: Any, *, model: Any, result: Result) -> NDArray[Any]:
    """Return the prediction of one block of an array."""
    if rows.shape[0] == 0:  # scikit-learn refuses it
        return result.empty()
    predictions: NDArray[Any] = (
        model.predict(rows, n_threads=1)
        if isinstance(model, Network)
        else getattr(model, result.method)(rows)
    )
    return predictions


def _partition(rows: Any, *, model: Any, result: Result) -> Any:
    """Return the prediction of one partition of a frame, with its index."""
    return _framed(result, _block(rows, model=model, result=result), rows.index)


def _framed(result: Result, predictions: NDArray[Any], index: Any) -> Any:
    pandas = imported("pandas")
    if result.columns is None:
        return pandas.Series(predictions, index=index)
    return pandas.DataFrame(predictions, index=index, columns=result.columns)
