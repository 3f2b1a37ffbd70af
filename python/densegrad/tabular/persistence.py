"""Files and pickles of the tabular estimators."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from densegrad import _validation, _versions, files
from densegrad.spec import NetworkSpec
from densegrad.tabular.columns import Columns
from densegrad.tabular.ensemble import Ensemble
from densegrad.tabular.saving import (
    check_array,
    check_levels,
    columns_of,
    columns_state,
    ensemble_of,
    ensemble_state,
)

#: Attributes of classes that are not public. Pickles hold plain data in their place.
_REPLACED = ("_columns", "_ensemble", "_labels", "_loss")


class Persistence(BaseEstimator, ABC):
    """The part of a tabular estimator that saves and pickles it."""

    _columns: Columns
    _ensemble: Ensemble
    oof_prediction_: NDArray[Any] | None
    oof_score_: float
    fit_seconds_: float

    @abstractmethod
    def __sklearn_is_fitted__(self) -> bool:
        """Tell whether there is a fit."""

    @abstractmethod
    def _describe(self, columns: Columns, ensemble: Ensemble) -> None:
        """Set the attributes that follow from columns and ensemble."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the estimator to a safetensors file: all that predictions depend on, and what the fit tells.

        Parameters
        ----------
        path : str or path-like
            An existing file is replaced in one step and keeps its permissions.

        Raises
        ------
        ValueError
            If a parameter has a value that `fit` would refuse; `load` would refuse it, too.
        TypeError
            If a parameter, or the levels of a column, are of a type that files do not hold; the message names
            it.
        OSError
            If the folder does not exist, if `path` is a directory, device, FIFO or socket, or if writing
            fails. An old file stays.
        """
        self._validate_params()
        if self.__sklearn_is_fitted__():
            check_levels(self._columns)
        state = {
            "estimator": type(self).__name__,
            "parameters": self.get_params(deep=False),
            "fitted": self._fitted_state(),
        }
        files.write(path, "estimator", state)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read an estimator that `save` wrote. No code in the file is run.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        estimator
            It predicts bit for bit like the one saved.

        Raises
        ------
        ValueError
            If the file is damaged, or was written by something else or by a newer version.
        FileNotFoundError
        """
        state = files.read(path, "estimator")
        with files.damage(path, "estimator"):
            if state["estimator"] != cls.__name__:
                raise ValueError(f"it is of class {state['estimator']}, not {cls.__name__}")
            estimator = cls(**state["parameters"])
            cls._validate_params(estimator)
            if state["fitted"] is not None:
                cls._restore(estimator, state["fitted"])
        return estimator

    def __getstate__(self) -> dict[str, Any]:
        members = {name: value for name, value in super().__getstate__().items() if name not in _REPLACED}
        return _versions.stamped({"members": members, "fitted": self._fitted_state()})

    def __setstate__(self, state: Any) -> None:
        state = _versions.read(type(self).__name__, state)
        if state["fitted"] is not None:
            self._restore(state["fitted"])
        self.__dict__.update(state["members"])

    def _fitted_state(self) -> dict[str, Any] | None:
        """Return the fitted attributes as plain data, None before a fit."""
        if not self.__sklearn_is_fitted__():
            return None
        return {
            "columns": columns_state(self._columns),
            "ensemble": ensemble_state(self._ensemble),
            "oof_prediction": self.oof_prediction_,
            "oof_score": float(self.oof_score_),
            "fit_seconds": self.fit_seconds_,
            **self._own_state(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        """Take over what gave `_fitted_state`, checked."""
        columns = columns_of(state["columns"])
        ensemble = ensemble_of(state["ensemble"], columns)
        self._restore_own(state, ensemble.members[0].network.spec)
        self._describe(columns, ensemble)
        oof = state["oof_prediction"]
        if oof is not None:
            check_array("oof_prediction", oof, np.float64, (None,) * np.ndim(oof), finite=False)
        self.oof_prediction_ = oof
        self.oof_score_ = _validation.number("oof_score", state["oof_score"])
        self.fit_seconds_ = _validation.number("fit_seconds", state["fit_seconds"])
        self._ensemble = ensemble

    @abstractmethod
    def _own_state(self) -> dict[str, Any]:
        """Return the fitted attributes of this kind of target as plain data."""

    @abstractmethod
    def _restore_own(self, state: dict[str, Any], spec: NetworkSpec) -> None:
        """Take over what gave `_own_state`, checked; `spec` is of the members' networks."""
