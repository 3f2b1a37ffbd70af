"""solver='lbfgs': SciPy's L-BFGS-B on the core's loss and gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
import scipy
import scipy.optimize
from numpy.typing import NDArray
from sklearn.utils.optimize import _check_optimize_result

from densegrad.network import Network
from densegrad.samples import Samples
from densegrad.spec import NetworkSpec
from densegrad.training.history import Epoch

_PRINTS = tuple(int(part) for part in scipy.__version__.split(".")[:2]) < (1, 15)


class Packing:
    """Between scikit-learn's order of the parameters (all weights, then all biases) and the network's.

    The network's vector is layer after layer, each with its biases last.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        matrices = list(spec.split(np.arange(spec.n_parameters)))
        coefs = [W[:-1].ravel() for W in matrices]
        self.n_coefs = sum(map(len, coefs))
        self._order = np.concatenate([*coefs, *(W[-1] for W in matrices)])

    def pack(self, parameters: NDArray[Any]) -> NDArray[np.float64]:
        """Return the network's vector in scikit-learn's order, as float64."""
        packed: NDArray[np.float64] = parameters[self._order].astype(np.float64, copy=False)
        return packed

    def unpack(self, packed: NDArray[np.float64]) -> NDArray[np.float64]:
        """Undo `pack`."""
        parameters = np.empty_like(packed)
        parameters[self._order] = packed
        return parameters


class Objective:
    """Loss with the L2 penalty and its gradient, as functions of the packed parameters.

    Computed in float64 even if X is float32: a line search needs losses of more than seven digits.

    Parameters
    ----------
    network : Network
        Is not changed.
    X, target, sample_weight
        As for `Samples`.
    alpha : float
        The penalty is alpha / 2 · Σ w² / (sum of the sample weights), biases left out.
    n_threads : int or None
    """

    def __init__(
        self,
        network: Network,
        X: Any,
        target: NDArray[Any],
        sample_weight: NDArray[np.float64] | None,
        alpha: float,
        n_threads: int | None,
    ) -> None:
        self._network = network.astype(np.float64)
        self._packing = Packing(network.spec)
        self._samples = Samples(self._network.spec, X, target, sample_weight)
        total = self._samples.n_rows if sample_weight is None else np.sum(sample_weight)
        self._penalty = alpha / total
        self._n_threads = n_threads
        self.start = self._packing.pack(self._network.parameters)

    def __call__(self, packed: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the loss and its gradient; NaN for parameters that are not finite."""
        if not np.isfinite(packed).all():
            return math.nan, np.full_like(packed, math.nan)
        self._network.parameters = self.parameters(packed)
        loss, gradient = self._network.loss_and_gradient(self._samples, n_threads=self._n_threads)
        gradient = self._packing.pack(gradient)
        n_coefs = self._packing.n_coefs
        coefs = packed[:n_coefs]
        gradient[:n_coefs] += self._penalty * coefs
        return loss + 0.5 * self._penalty * float(np.square(coefs).sum()), gradient

    def parameters(self, packed: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return packed parameters in the order of `Network.parameters`."""
        return self._packing.unpack(packed)


class Minimum(NamedTuple):
    """Where the minimisation ended."""

    #: In the order of `Network.parameters`.
    parameters: NDArray[np.float64]
    loss: float
    n_iter: int


def minimise(
    objective: Objective,
    *,
    max_iter: int,
    max_fun: int,
    tol: float,
    max_time: float,
    verbose: bool,
    see: Callable[[Epoch, NDArray[np.float64]], bool],
) -> Minimum:
    """Minimise the objective from its start on.

    Parameters
    ----------
    objective : Objective
    max_iter, max_fun : int
        Largest numbers of iterations and of evaluations.
    tol : float
        Largest projected gradient at which the iterations end.
    max_time : float
        Seconds after which no further iteration begins.
    verbose : bool
    see : callable
        Called after each iteration with its record and its parameters, in the order of `Network.parameters`;
        returns True to end the iterations.
    """
    began = before = monotonic()
    n_iter = 0

    def after_iteration(intermediate_result: Any) -> None:
        nonlocal n_iter, before
        seconds, before = monotonic() - before, monotonic()
        time_is_up = before >= began + max_time
        epoch = Epoch(
            n_iter, float(intermediate_result.fun), None, seconds, 0, stopped="max_time" if time_is_up else ""
        )
        n_iter += 1
        if see(epoch, objective.parameters(intermediate_result.x.copy())) or time_is_up:
            raise StopIteration

    options: dict[str, Any] = {"maxfun": max_fun, "maxiter": max_iter, "gtol": tol}
    if _PRINTS:
        options["iprint"] = 1 if verbose else -1
    result = scipy.optimize.minimize(
        objective, objective.start, method="L-BFGS-B", jac=True, options=options, callback=after_iteration
    )
    if result.status == 99:  # SciPy's, for a callback that ended the iterations
        n_iter = min(result.nit, max_iter)
    else:
        n_iter = _check_optimize_result("lbfgs", result, max_iter)
    return Minimum(objective.parameters(result.x), float(result.fun), n_iter)
