"""solver='lbfgs': the parts that scikit-learn's L-BFGS has and ours does not have."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.optimize import _check_optimize_result

from densegrad.network import Network
from densegrad.samples import Samples
from densegrad.spec import NetworkSpec

#: Of the loss, relative to itself or 1: SciPy's default.
REDUCTION_TOLERANCE = 1e7 * float(np.finfo(np.float64).eps)

# SciPy's status and message for each end of the core's.
_SCIPY = {
    "gradient": (0, "CONVERGENCE: NORM OF PROJECTED GRADIENT <= PGTOL"),
    "reduction": (0, "CONVERGENCE: RELATIVE REDUCTION OF F <= FACTR*EPSMCH"),
    "asked": (0, "STOP: CALLBACK REQUESTED HALT"),
    "iterations": (1, "STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT"),
    "evaluations": (1, "STOP: TOTAL NO. OF F,G EVALUATIONS EXCEEDS LIMIT"),
    "line_search": (2, "ABNORMAL: "),
}


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

    def __call__(self, packed: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the loss and its gradient; NaN for parameters that are not finite."""
        if not np.isfinite(packed).all():
            return math.nan, np.full_like(packed, math.nan)
        self._network.parameters = self._packing.unpack(packed)
        loss, gradient = self._network.loss_and_gradient(self._samples, n_threads=self._n_threads)
        gradient = self._packing.pack(gradient)
        n_coefs = self._packing.n_coefs
        coefs = packed[:n_coefs]
        gradient[:n_coefs] += self._penalty * coefs
        return loss + 0.5 * self._penalty * float(np.square(coefs).sum()), gradient


def warn_unless_converged(end: str, n_iter: int, max_iter: int) -> None:
    """Warn as scikit-learn does, by `Lbfgs.end`."""
    status, message = _SCIPY[end]
    _check_optimize_result("lbfgs", SimpleNamespace(nit=n_iter, status=status, message=message), max_iter)
