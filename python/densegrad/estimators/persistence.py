"""Copies, pickles and files of an estimator."""

from __future__ import annotations

import copy
import inspect
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Final, Self

import numpy as np

from densegrad import _core, _validation, _versions, files
from densegrad._losses import CustomLoss
from densegrad.estimators import targets as targets_
from densegrad.estimators.fitted_network import FittedNetwork
from densegrad.estimators.targets import Targets
from densegrad.estimators.training import Training
from densegrad.estimators.weights import WeightLists
from densegrad.spec import NetworkSpec
from densegrad.training.checkpoint import Checkpoint, Progress


def _count(name: str, value: Any) -> int:
    return _validation.integer(name, value, 0)


def _number_or_none(name: str, value: Any) -> float | None:
    return None if value is None else _validation.number(name, value)


def _curve(name: str, value: Any) -> list[float]:
    return [_validation.number(name, number) for number in value]


def _curve_or_none(name: str, value: Any) -> list[float] | None:
    return None if value is None else _curve(name, value)


#: The fitted attributes that files hold, and their checks; the others follow from network and targets.
RECORD: Final[dict[str, Callable[[str, Any], Any]]] = {
    "n_iter_": _count,
    "loss_": _validation.number,
    "best_loss_": _number_or_none,
    "loss_curve_": _curve,
    "validation_scores_": _curve_or_none,
    "validation_loss_curve_": _curve_or_none,
    "best_validation_score_": _number_or_none,
}


_OF_VALIDATION: Final = ("validation_scores_", "validation_loss_curve_", "best_validation_score_")


@dataclass(frozen=True)
class Saved:
    """The contents of a file of an estimator."""

    parameters: dict[str, Any]
    #: Names of the parameters that the file cannot hold.
    given_again: tuple[str, ...]
    training: Training | None
    targets: Any
    #: Fitted attributes.
    record: dict[str, Any]
    #: Of a checkpoint.
    progress: Progress | None


class Persistent(FittedNetwork):
    """The part of an estimator that copies, pickles and saves it."""

    _kind: ClassVar[str]
    _targets: Any
    scoring: Any

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the estimator to a safetensors file: all that predictions and further training depend on.

        Parameters that are code, such as a custom loss or callbacks, are not written: pass them to `load`.

        Parameters
        ----------
        path : str or path-like
            An existing file is replaced in one step and keeps its permissions.

        Raises
        ------
        ValueError
            If a parameter has a value that `fit` would refuse; `load` would refuse it, too.
        OSError
            If the folder does not exist, if `path` is a directory, device, FIFO or socket, or if writing
            fails. An old file stays.
        """
        self._validate_params()
        if self.__sklearn_is_fitted__():
            self._current_network()
        self._write(path, self._training, {})

    @classmethod
    def load(cls, path: str | os.PathLike[str], **parameters: Any) -> Self:
        """Read an estimator that `save`, or `fit` with a checkpoint, wrote. No code in the file is run.

        Parameters
        ----------
        path : str or path-like
        **parameters
            The parameters that the file does not hold because they are code. These are a custom loss,
            callbacks, your own scorer or schedule, or a generator of another library.

        Returns
        -------
        estimator
            It predicts, and continues with `partial_fit` and `warm_start`, bit for bit like the one saved.

        Raises
        ------
        ValueError
            If the file is damaged, or was written by something else or by a newer version. Also if parameters
            are missing or too many.
        FileNotFoundError
        """
        loss = parameters.get("loss")
        saved = _read(path, cls._kind, loss if callable(loss) else None, parameters.get("scoring"))
        missing = [name for name in saved.given_again if name not in parameters]
        unknown = [name for name in parameters if name not in saved.given_again]
        if missing or unknown:
            raise ValueError(
                f"load must get the parameters that {os.fsdecode(path)!r} does not hold,"
                f" {', '.join(saved.given_again) or 'none'}; "
                + (f"{', '.join(missing)} is missing" if missing else f"got {', '.join(unknown)}")
            )
        with files.damage(path, "estimator"):
            estimator = cls(**saved.parameters, **parameters)
            cls._validate_params(estimator)
        estimator.__dict__.update(_members(saved))
        return estimator

    def _write(self, path: str | os.PathLike[str], training: Training | None, more: dict[str, Any]) -> None:
        """Write the estimator with this training, and the further data of a checkpoint."""
        given = self.get_params(deep=False)
        names = vars(self).get("feature_names_in_")
        state = {
            "estimator": self._kind,
            "parameters": {name: value for name, value in given.items() if files.is_writable(value)},
            "given_again": [name for name, value in given.items() if not files.is_writable(value)],
            "feature_names": None if names is None else names.tolist(),
            "record": {name: vars(self)[name] for name in RECORD if name in vars(self)},
            "targets": None if self._targets is None else self._targets.to_state(),
            "training": None,
            **more,
        }
        if training is None:
            files.write(path, "estimator", state)
            return
        with _core.Reading(training.network):  # another thread may train it
            # The memory of L-BFGS is as large as twenty networks; it begins anew after loading.
            written = {**training.to_state(), "lbfgs": None}
            if not files.is_writable(written["scoring"]):
                written["scoring"] = None
            files.write(path, "estimator", {**state, "training": written})

    def _write_checkpoint(self, saver: Checkpoint, training: Training, began: Progress, stopped: str) -> None:
        """Write the estimator as it would be if the fit ended with this epoch."""
        if math.isfinite(self.loss_) and _core.has_finite_weights(training.network):
            progress = replace(began, epochs=self.n_iter_, stopped=stopped)
            self._write(saver.path, training.as_if_ended(), {"fit": asdict(progress)})

    def _read_checkpoint(self, saver: Checkpoint, custom_loss: CustomLoss | None) -> Saved:
        saved = _read(saver.path, self._kind, custom_loss, self.scoring)
        if saved.training is None or saved.progress is None:
            raise saver.refuse("`save` wrote it, not a fit")
        return saved

    def __getstate__(self) -> dict[str, Any]:
        if self._training is not None:
            self._current_network()
        members: dict[str, Any] = {**super().__getstate__()}
        members.pop("_fit_under_way", None)
        weights: WeightLists | None = members.pop("_weights", None)
        if self._training is not None:
            members["_training"] = self._training.to_state()
        elif weights is not None:
            members["_weights"] = weights.lists
        if self._targets is not None:
            members["_targets"] = self._targets.to_state()
        return _versions.stamped({"members": members})

    def __setstate__(self, state: Any) -> None:
        members = dict(_versions.read(type(self).__name__, state)["members"])
        if "_training" in members:
            members["_training"] = Training.from_state(members["_training"])
        if "_weights" in members:
            members["_weights"] = WeightLists(members["_weights"])
        if "_targets" in members:
            members["_targets"] = targets_.from_state(members["_targets"])
        # A pickle of an older version lacks the parameters that came later.
        for name, parameter in inspect.signature(type(self)).parameters.items():
            if parameter.default is not parameter.empty:
                members.setdefault(name, parameter.default)
        self.__dict__.update(members)

    def __copy__(self) -> Self:
        """Return a copy that trains on its own; it shares all that fitting does not make, as parameters."""
        members = self.__getstate__()["members"]
        given = self.get_params(deep=False)
        made = [key for key in members if key.startswith("_") or key.endswith("_")]
        trained = {key: members[key] for key in made if key not in given and "callback" not in key}
        own = copy.deepcopy(trained, {id(value): value for value in given.values()})
        other = object.__new__(type(self))
        other.__setstate__(_versions.stamped({"members": {**members, **own}}))
        return other


def _read(path: str | os.PathLike[str], kind: str, custom_loss: CustomLoss | None, scoring: Any) -> Saved:
    """Return the contents of a file; `custom_loss` and `scoring` are given again if they are callables."""
    state = files.read(path, "estimator", custom_loss)
    with files.damage(path, "estimator"):
        if state["estimator"] != kind:
            raise ValueError(f"it is of class {state['estimator']}, not {kind}")
        training = None if state["training"] is None else Training.from_state(state["training"])
        targets: Targets | None = None if state["targets"] is None else targets_.from_state(state["targets"])
        record = _checked_record(state["record"])
        names = state["feature_names"]
        if training is not None:
            if "scoring" in state["given_again"]:
                training.scoring = scoring
            spec = training.network.spec
            _check_targets(kind, targets, spec)
            if names is not None:
                if len(names) != spec.n_inputs or not all(isinstance(name, str) for name in names):
                    raise ValueError(f"feature_names must be {spec.n_inputs} strings")
                record["feature_names_in_"] = np.array(names, object)
        return Saved(
            dict(state["parameters"]),
            tuple(str(name) for name in state["given_again"]),
            training,
            targets,
            record,
            Progress.from_state(state["fit"]) if "fit" in state else None,
        )


def _check_targets(kind: str, targets: Targets | None, spec: NetworkSpec) -> None:
    """Raise ValueError if an estimator of a `kind` cannot predict its targets by such a network."""
    if targets is None and kind == "MLPRegressor":
        return  # its weights were assigned, and never fitted
    if not isinstance(targets, targets_.Labels if kind == "MLPClassifier" else targets_.Values):
        raise ValueError(f"an {kind} must have targets of its own kind")
    head, wanted = spec.head, targets.head(spec.loss)
    if (head.units, head.activation) != (wanted.units, wanted.activation):
        raise ValueError(
            f"its network has the head {(head.units, head.activation)}, which does not fit its targets"
        )


def _checked_record(record: dict[str, Any]) -> dict[str, Any]:
    """Return the fitted attributes in a file, if they fit each other."""
    checked = {name: RECORD[name](name, value) for name, value in record.items()}
    curves = [name for name in ("loss_curve_", *_OF_VALIDATION) if name in checked]
    if len(curves) not in (0, 1 + len(_OF_VALIDATION)):
        raise ValueError(f"record must have all curves or none; it has {', '.join(curves)}")
    if len({checked.get(name) is None for name in _OF_VALIDATION}) > 1:
        raise ValueError(f"{', '.join(_OF_VALIDATION)} must all be there or all be None")
    return checked


def _members(saved: Saved) -> dict[str, Any]:
    """Return the attributes of the fitted estimator that a file holds."""
    if saved.training is None:
        return {}
    return {
        **saved.record,
        **attributes_of(saved.training, saved.targets),
        "n_features_in_": saved.training.network.spec.n_inputs,
    }


def attributes_of(training: Training, targets: Targets | None) -> dict[str, Any]:
    """Return the fitted attributes that follow from a training and its targets.

    `targets` is None if the weights were assigned, and never fitted.
    """
    spec = training.network.spec
    attributes = {
        "_training": training,
        "n_outputs_": spec.head.units,
        "n_layers_": spec.depth + 1,
        "out_activation_": spec.head.activation,
        "t_": training.n_rows_seen,
    }
    if targets is not None:
        attributes["_targets"] = targets
    if isinstance(targets, targets_.Labels):
        attributes["classes_"] = targets.classes
    return attributes
