"""Dense neural networks trained by explicit back propagation in a C++ core.

Names by purpose; each has its own help:

- Estimators with scikit-learn's interface: `MLPClassifier`, `MLPRegressor`, and for data frames
  `TabularClassifier`, `TabularRegressor`, `TabularEncoder`.
- Networks, with NumPy alone: `Network`, `Dense`; `Trainer` with an optimizer such as `Adam` or `SGD`.
- Back propagation: `Network.backpropagate` returns every quantity of both passes; `check_gradients`.
- What is built in: `activations()`, `losses()`, `optimizers()`, `show_config()`.
- Modules: `densegrad.display` (pictures), `densegrad.schedules`, `densegrad.initializers`,
  `densegrad.export` (ONNX and C), `densegrad.interop` (PyTorch and JAX).

Examples
--------
>>> import numpy as np
>>> from densegrad import Adam, Dense, Network, Trainer
>>> X = np.random.default_rng(0).normal(size=(100, 2))
>>> net = Network(2, [Dense(8, "tanh"), Dense(1, "identity")], random_state=0)
>>> history = Trainer(net, Adam(0.01), random_state=0).fit(
...     X, X[:, :1] * X[:, 1:], epochs=5
... )
>>> history.loss[-1] < history.loss[0]
True
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from densegrad import _core, _versions, initializers, schedules
from densegrad._optimizers import LBFGS, SGD, Adagrad, Adam, AdamW, Lion, NAdam, RMSprop
from densegrad._tables import activations, losses, optimizers
from densegrad.backpropagation import Backpropagation, LocalGradients
from densegrad.config import show_config
from densegrad.gradient_check import GradientReport, check_function, check_gradients
from densegrad.layers import Blend, Dense, LayerRates, Scale
from densegrad.network import Network
from densegrad.samples import Samples
from densegrad.spec import NetworkSpec
from densegrad.training.history import History
from densegrad.training.trainer import Trainer

if TYPE_CHECKING:
    from densegrad import export
    from densegrad.estimators import MLPClassifier, MLPRegressor
    from densegrad.tabular import TabularClassifier, TabularEncoder, TabularRegressor

__all__ = [
    "LBFGS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Backpropagation",
    "Blend",
    "Dense",
    "GradientReport",
    "History",
    "LayerRates",
    "Lion",
    "LocalGradients",
    "MLPClassifier",
    "MLPRegressor",
    "NAdam",
    "Network",
    "NetworkSpec",
    "RMSprop",
    "Samples",
    "Scale",
    "TabularClassifier",
    "TabularEncoder",
    "TabularRegressor",
    "Trainer",
    "activations",
    "check_function",
    "check_gradients",
    "export",
    "initializers",
    "losses",
    "optimizers",
    "schedules",
    "show_config",
]

# The names of the classes in pickles, so that their files may move.
for _kind in tuple(vars().values()):
    if isinstance(_kind, type) and _kind.__module__.startswith("densegrad."):
        _kind.__module__ = "densegrad"

try:
    _core.set_instruction_set(os.environ.get("DENSEGRAD_ISA", ""))
except ValueError as error:
    raise ValueError(f"environment variable DENSEGRAD_ISA: {error}") from None
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_core.after_fork_in_child)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _versions.installed()
    # scikit-learn takes a second to import and is only needed by the estimators; pictures and other libraries
    # need no import of their own.
    if name in ("MLPClassifier", "MLPRegressor"):
        return getattr(import_module("densegrad.estimators"), name)
    if name in ("display", "distributed", "export", "interop"):
        return import_module(f"densegrad.{name}")
    if name in ("TabularClassifier", "TabularEncoder", "TabularRegressor"):
        return getattr(import_module("densegrad.tabular"), name)
    # With the module and the name Python adds what may have been meant.
    raise AttributeError(
        f"module {__name__!r} has no attribute {name!r}", name=name, obj=sys.modules[__name__]
    )


def __dir__() -> list[str]:
    return sorted([*__all__, "display", "interop"])
