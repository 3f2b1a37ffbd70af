"""Networks and estimators on Dask collections. The extra `dask` installs what this needs.

Dask is imported when a function is first called.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from densegrad.dask.predictions import predict, predict_proba
from densegrad.dask.training import train

if TYPE_CHECKING:
    from densegrad.dask.estimators import DaskMLPClassifier, DaskMLPRegressor

__all__ = ["DaskMLPClassifier", "DaskMLPRegressor", "predict", "predict_proba", "train"]


def __getattr__(name: str) -> Any:
    # They need scikit-learn, which takes a second to import.
    if name in ("DaskMLPClassifier", "DaskMLPRegressor"):
        return getattr(import_module("densegrad.dask.estimators"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
