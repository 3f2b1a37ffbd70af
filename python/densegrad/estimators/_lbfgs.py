"""solver='lbfgs': SciPy's L-BFGS-B on the core's loss and gradient."""

from __future__ import annotations

import math
import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
import scipy.optimize
from numpy.typing import NDArray
from sklearn.utils.optimize import _check_optimize_result

from densegrad import Network
from densegrad.estimators import _model
from densegrad.estimators._watcher import watcher

if TYPE_CHECKING:
    from densegrad.estimators._base import BaseMLP
    from densegrad.estimators._callbacks import FitHooks
    from densegrad.estimators._preparation import TrainingData

_PRINTS = tuple(int(part) for part in scipy.__version__.split(".")[:2]) < (1, 15)


class Packing:
    """Between scikit-learn's order of the parameters (all weights, then all biases) and the network's.

    The network's vector is layer after layer, each with its biases last.
    """

    def __init__(self, network: Network) -> None:
        coefs, intercepts = [], []
        end, n_in = 0, network.n_inputs
        for layer in network.layers:
            begin, end = end, end + (n_in + 1) * layer.units
            coefs.append(np.arange(begin, end - layer.units))
            intercepts.append(np.arange(end - layer.units, end))
            n_in = layer.units
        self.n_coefs = sum(map(len, coefs))
        self._order = np.concatenate([*coefs, *intercepts])

    def pack(self, parameters: NDArray[Any]) -> NDArray[np.float64]:
        """Return the network's vector in scikit-learn's order, as float64."""
        packed: NDArray[np.float64] = parameters[self._order].astype(np.float64, copy=False)
        return packed

    def unpack(self, packed: NDArray[np.float64]) -> NDArray[np.float64]:
        """Undo `pack`."""
        parameters = np.empty_like(packed)
        parameters[self._order] = packed
        return parameters


class _Objective:
    """Loss with the L2 penalty and its gradient, as functions of the packed parameters.

    Computed in float64 also where X is float32: a line search needs losses of more than seven digits.
    """

    def __init__(self, estimator: BaseMLP, X: Any, target: NDArray[Any], sample_weight: Any) -> None:
        self.network = _model.network(**estimator._architecture, dtype=np.float64)
        self.network.parameters = estimator._current_network().parameters
        self.packing = Packing(self.network)
        self.samples = self.network.samples(X, target, sample_weight)
        total = X.shape[0] if sample_weight is None else np.sum(sample_weight)
        self.penalty = estimator.alpha / total
        self.n_threads = estimator.n_threads

    def __call__(self, packed: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        if not np.isfinite(packed).all():
            return math.nan, np.full_like(packed, math.nan)
        self.network.parameters = self.packing.unpack(packed)
        loss, gradient = self.network.loss_and_gradient(self.samples, n_threads=self.n_threads)
        gradient = self.packing.pack(gradient)
        coefs = packed[: self.packing.n_coefs]
        gradient[: self.packing.n_coefs] += self.penalty * coefs
        return loss + 0.5 * self.penalty * float(np.square(coefs).sum()), gradient


def fit_lbfgs(estimator: BaseMLP, data: TrainingData, hooks: FitHooks | None) -> bool:
    """Minimise the loss over the weights of the estimator's network; False after Ctrl-C."""
    objective = _Objective(estimator, data.X, data.target, data.sample_weight)
    start = before = time.monotonic()
    deadline = math.inf if estimator.max_time is None else start + estimator.max_time
    watched = watcher(estimator)
    estimator.n_iter_ = 0
    estimator.loss_ = math.inf
    best = objective.packing.pack(objective.network.parameters)

    def after_iteration(intermediate_result: Any) -> None:
        nonlocal best, before
        seconds, before = time.monotonic() - before, time.monotonic()
        best = intermediate_result.x.copy()
        estimator.n_iter_ += 1
        estimator.loss_ = float(intermediate_result.fun)
        stop = False
        if hooks is not None:
            if hooks.active:
                _store(estimator, objective, best)
            stop = hooks.epoch_ends()
        if watched is not None:
            stop = watched.stops(estimator.n_iter_ - 1, estimator.loss_, seconds) or stop
        if stop or time.monotonic() >= deadline:
            raise StopIteration
        if hooks is not None and estimator.n_iter_ < estimator.max_iter:
            hooks.epoch_begins()

    if hooks is not None:
        hooks.epoch_begins()
    options: dict[str, Any] = {
        "maxfun": estimator.max_fun,
        "maxiter": estimator.max_iter,
        "gtol": estimator.tol,
    }
    if _PRINTS:
        options["iprint"] = 1 if estimator.verbose else -1
    completed = False
    try:
        result = scipy.optimize.minimize(
            objective, best, method="L-BFGS-B", jac=True, options=options, callback=after_iteration
        )
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=5)
    else:
        completed = True
        best = result.x
        estimator.loss_ = float(result.fun)
        if result.status == 99:  # SciPy's, for a callback that ended the iterations
            estimator.n_iter_ = min(result.nit, estimator.max_iter)
        else:
            estimator.n_iter_ = _check_optimize_result("lbfgs", result, estimator.max_iter)
    finally:
        if watched is not None:
            watched.close()
    _store(estimator, objective, best)
    return completed


def _store(estimator: BaseMLP, objective: _Objective, packed: NDArray[np.float64]) -> None:
    estimator._set_parameters(objective.packing.unpack(packed))


def loss_and_gradient(
    estimator: BaseMLP, packed: NDArray[Any], X: Any, target: NDArray[Any], sample_weight: Any
) -> tuple[float, NDArray[np.float64]]:
    """Return the penalised loss and its gradient at the packed parameters."""
    return _Objective(estimator, X, target, sample_weight)(np.asarray(packed, np.float64))
