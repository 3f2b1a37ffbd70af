"""Estimators that fit on Dask collections, over the workers of a cluster."""

from __future__ import annotations

import copy
import math
import warnings
from abc import ABC, abstractmethod
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.utils.validation import check_is_fitted

from densegrad.dask.labels import all_labels, labels_of_block
from densegrad.dask.packages import imported
from densegrad.dask.predictions import predict, predict_proba
from densegrad.dask.training import train
from densegrad.estimators import MLPClassifier, MLPRegressor
from densegrad.estimators.parameters import Recipe
from densegrad.estimators.sharded import fit_arguments, trainer_of
from densegrad.estimators.targets import Labels, Values
from densegrad.spec import NetworkSpec
from densegrad.training.trainer import Trainer


class _OnCluster(BaseEstimator, ABC):
    """What both estimators share."""

    _local: ClassVar[type[Any]]

    def __init__(
        self,
        estimator: Any = None,
        *,
        shards: int = 64,
        average_every: int | None = None,
        recover: bool | Literal["grow"] = True,
        timeout: float = 300.0,
        client: Any = None,
    ) -> None:
        self.estimator = estimator
        self.shards = shards
        self.average_every = average_every
        self.recover = recover
        self.timeout = timeout
        self.client = client

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Any:
        """Fit the network to Dask collections.

        Parameters
        ----------
        X : dask.array.Array or dask.dataframe.DataFrame
            As for `train`. float32 is trained on in float32, all other data in float64.
        y : dask.array.Array or dask.dataframe.Series
            Labels, or numbers for regression, with the partitions of `X`.
        sample_weight : like y, default=None
        X_val, y_val, sample_weight_val : like X, y and sample_weight, default=None
            Validation data, which ``early_stopping=True`` needs: nothing of X is set aside.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described, or the estimator has a parameter that a cluster does not know.
        densegrad.distributed.PeerLost
            As for `train`.
        """
        estimator = self._local() if self.estimator is None else self.estimator
        _check_parameters(self._local, estimator, X_val)
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val must be given together")
        client = imported("distributed").get_client() if self.client is None else self.client
        targets, class_weight = self._targets_of(client, y, estimator)
        dtype = np.dtype(np.float32 if _dtypes(X) == {np.dtype(np.float32)} else np.float64)
        local = _local_estimator(estimator, targets, X, dtype)  # which checks the parameters
        recipe = Recipe.of(vars(estimator))
        layers = *recipe.hidden, targets.head(recipe.loss)
        spec = NetworkSpec(int(X.shape[1]), layers, recipe.loss, dtype)
        trainer = trainer_of(recipe, spec, self.shards, self.average_every)
        validation = None
        if X_val is not None:
            weight = _row_weights(targets, class_weight, y_val, sample_weight_val)
            validation = (X_val, self._target_of(targets, y_val), weight)
        history = train(
            client,
            trainer,
            X,
            self._target_of(targets, y),
            sample_weight=_row_weights(targets, class_weight, y, sample_weight),
            validation=validation,
            recover=self.recover,
            timeout=self.timeout,
            **fit_arguments(recipe),
        )
        _take(local, trainer)
        self.local_ = local.set_params(**estimator.get_params())
        self.history_ = history
        self.n_features_in_ = self.local_.n_features_in_
        return self

    def predict(self, X: Any) -> Any:
        """Predict for each block, when the result is computed; see `densegrad.dask.predict`.

        Parameters
        ----------
        X : dask.array.Array or dask.dataframe.DataFrame

        Returns
        -------
        dask.array.Array or dask.dataframe.Series
        """
        check_is_fitted(self)
        return predict(self.local_, X)

    def to_local(self) -> Any:
        """Return the fitted estimator for arrays, which needs no Dask.

        Returns
        -------
        MLPClassifier or MLPRegressor
        """
        check_is_fitted(self)
        return copy.deepcopy(self.local_)

    @abstractmethod
    def _targets_of(self, client: Any, y: Any, estimator: Any) -> tuple[Any, dict[Any, float] | None]:
        """Return the targets in a collection, and the weights of the classes."""

    @abstractmethod
    def _target_of(self, targets: Any, y: Any) -> Any:
        """Return the collection of the network's target for y."""

    def __sklearn_clone__(self) -> Any:
        parameters = self.get_params(deep=False)
        estimator, client = parameters.pop("estimator"), parameters.pop("client")
        # Clones share the connection.
        return type(self)(None if estimator is None else clone(estimator), client=client, **parameters)

    def __getstate__(self) -> Any:
        return {**super().__getstate__(), "client": None}  # a connection is no part of a pickle


class DaskMLPClassifier(ClassifierMixin, _OnCluster):
    """A multi-layer perceptron classifier that is fitted on Dask collections.

    Parameters
    ----------
    estimator : MLPClassifier, default=None
        The classifier whose parameters count. It is not changed. None stands for one with its defaults. Early
        stopping follows the loss of the validation data here.
    shards : int, default=64
        Parts that the rows are cut into, as for `Trainer`. Results depend on them, never on the workers.
    average_every : int, default=None
        Updates that each part makes alone before the parts are averaged, as for `Trainer`. Then choose
        `shards`, too: about as many as workers.
    recover : bool or "grow", default=True
        Continue if workers are lost or join, as `train` does.
    timeout : float, default=300
        Seconds for which a rank waits for another one.
    client : distributed.Client, default=None
        None stands for the current one. It is left out of pickles.

    Attributes
    ----------
    local_ : MLPClassifier
        The fitted classifier.
    classes_ : ndarray
    history_ : History
    n_features_in_ : int
    """

    _local = MLPClassifier

    @property
    def classes_(self) -> NDArray[Any]:
        """The labels."""
        classes: NDArray[Any] = self.local_.classes_
        return classes

    def predict_proba(self, X: Any) -> Any:
        """Return the probabilities of the classes, lazily; see `densegrad.dask.predict_proba`.

        Parameters
        ----------
        X : dask.array.Array or dask.dataframe.DataFrame

        Returns
        -------
        dask.array.Array or dask.dataframe.DataFrame
        """
        check_is_fitted(self)
        return predict_proba(self.local_, X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy.

        Parameters
        ----------
        X, y, sample_weight : Dask collections

        Returns
        -------
        float
        """
        right, weight = _computed(self.predict(X), y, sample_weight)
        predictions, labels = right
        return float(np.average(predictions == labels, weights=weight))

    def _targets_of(self, client: Any, y: Any, estimator: Any) -> tuple[Labels, dict[Any, float] | None]:
        if y.ndim != 1:
            raise ValueError(f"y must be labels in one column; got {y.ndim} dimensions")
        blocks = y.to_delayed().ravel() if hasattr(y, "chunks") else y.to_delayed()
        counted = imported("dask").delayed(labels_of_block)
        found = client.gather(client.compute([counted(number, block) for number, block in enumerate(blocks)]))
        classes, counts = all_labels(found)
        targets, weight = Labels.of(classes), estimator.class_weight
        if isinstance(weight, str):  # "balanced"
            weight = dict(zip(classes.tolist(), counts.sum() / (len(counts) * counts), strict=True))
        targets.row_weights(classes, None, weight, classes)  # which checks them
        return targets, weight

    def _target_of(self, targets: Labels, y: Any) -> Any:
        if hasattr(y, "chunks"):
            return y.map_blocks(
                partial(_class_numbers, targets.classes), dtype=np.int64, meta=np.empty(0, np.int64)
            )
        return y.map_partitions(partial(_series_of_class_numbers, targets.classes), meta=(y.name, np.int64))


class DaskMLPRegressor(RegressorMixin, _OnCluster):
    """A multi-layer perceptron regressor that is fitted on Dask collections.

    Parameters
    ----------
    estimator : MLPRegressor, default=None
        The regressor whose parameters count. It is not changed. None stands for one with its defaults.
    shards, average_every, recover, timeout, client
        As for `DaskMLPClassifier`.

    Attributes
    ----------
    local_ : MLPRegressor
        The fitted regressor.
    history_ : History
    n_features_in_ : int
    """

    _local = MLPRegressor

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R².

        Parameters
        ----------
        X, y, sample_weight : Dask collections

        Returns
        -------
        float
        """
        from sklearn.metrics import r2_score

        (predictions, values), weight = _computed(self.predict(X), y, sample_weight)
        return float(r2_score(values, predictions, sample_weight=weight))

    def _targets_of(self, client: Any, y: Any, estimator: Any) -> tuple[Values, None]:
        return Values(1 if y.ndim == 1 else int(y.shape[1])), None

    def _target_of(self, targets: Values, y: Any) -> Any:
        return y


def _check_parameters(kind: type[Any], estimator: Any, X_val: Any) -> None:
    """Raise an error if the estimator asks for something that a cluster does not know."""
    if not isinstance(estimator, kind):
        raise TypeError(f"estimator must be an {kind.__name__}; got {type(estimator).__name__}")
    needed = {"learning_rate": "constant", "scoring": None, "warm_start": False}
    if estimator.solver == "lbfgs":
        needed["max_fun"] = kind().max_fun  # max_iter is the only limit
    for name, value in needed.items():
        given = getattr(estimator, name, value)
        if given != value:
            raise ValueError(f"{name} must be {value!r} on a cluster; got {given!r}")
    if estimator.solver == "lbfgs" and X_val is not None:
        raise ValueError("X_val and y_val need a stochastic solver; got solver='lbfgs'")
    if callable(estimator.loss):
        raise ValueError(
            "loss must be the name of a loss on a cluster; use densegrad.dask.train for your own"
        )
    if estimator.early_stopping and X_val is None:
        raise ValueError("early_stopping=True needs X_val and y_val on a cluster, which sets no rows aside")


def _dtypes(X: Any) -> set[Any]:
    return set(X.dtypes) if hasattr(X, "dtypes") else {X.dtype}


def _class_numbers(classes: NDArray[Any], y: Any) -> NDArray[np.int64]:
    """Return the numbers of the labels in a block."""
    labels = np.asarray(y)
    if not np.isin(labels, classes).all():
        strange = np.setdiff1d(labels, classes).tolist()
        raise ValueError(f"y_val has labels that y has not: {strange}; those of y are {classes.tolist()}")
    return np.searchsorted(classes, labels)


def _series_of_class_numbers(classes: NDArray[Any], y: Any) -> Any:
    return imported("pandas").Series(_class_numbers(classes, y), index=y.index, name=y.name)


def _row_weights(targets: Any, class_weight: dict[Any, float] | None, y: Any, sample_weight: Any) -> Any:
    """Return the collection of the sample weights multiplied by the weights of the classes."""
    if class_weight is None:
        return sample_weight
    parts = [y] if sample_weight is None else [y, sample_weight]
    weigh = partial(_weights_of_block, targets, class_weight)
    if all(hasattr(part, "chunks") for part in parts):
        return imported("dask.array").map_blocks(weigh, *parts, dtype=np.float64, meta=np.empty(0))
    if any(hasattr(part, "chunks") for part in parts):
        raise TypeError("sample_weight must be a Dask Array if y is one, and a Series if y is one")
    return imported("dask.dataframe").map_partitions(
        weigh, *parts, meta=(None, np.float64), align_dataframes=False
    )


def _weights_of_block(
    targets: Labels, class_weight: dict[Any, float], y: Any, sample_weight: Any = None
) -> Any:
    """Return the weights of the rows of a block."""
    weights = None if sample_weight is None else np.asarray(sample_weight, np.float64)
    product = targets.weights(np.asarray(y), class_weight, np.asarray(y))
    product = product if weights is None else product * weights
    return product if isinstance(y, np.ndarray) else imported("pandas").Series(product, index=y.index)


def _computed(predictions: Any, y: Any, sample_weight: Any) -> tuple[tuple[Any, Any], Any]:
    weights = [] if sample_weight is None else [sample_weight]
    arrays = [np.asarray(part) for part in imported("dask").compute(predictions, y, *weights)]
    return (arrays[0], arrays[1]), arrays[2] if weights else None


def _local_estimator(estimator: Any, targets: Any, X: Any, dtype: np.dtype[Any]) -> Any:
    """Return an estimator for arrays that has seen a few made-up rows: it has all fitted attributes."""
    unseen = {"early_stopping": False, "callbacks": None, "progress": False, "batch_size": "auto"}
    if isinstance(targets, Labels):
        unseen["class_weight"] = None
    local = clone(estimator).set_params(**unseen)
    classes = targets.classes if isinstance(targets, Labels) else np.ones(1)
    by_steps = local.solver != "lbfgs"
    made_up: Any = np.zeros((1 if by_steps else len(classes), int(X.shape[1])), dtype)
    if hasattr(X, "columns") and all(isinstance(name, str) for name in X.columns):
        made_up = imported("pandas").DataFrame(made_up, columns=list(X.columns))
    y = classes[: len(made_up)]
    if not isinstance(targets, Labels) and targets.n_targets > 1:
        y = np.ones((1, targets.n_targets))
    if not by_steps:  # which has no partial_fit
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it does not converge
            return local.set_params(max_iter=1).fit(made_up, y)
    return local.partial_fit(made_up, y, **({"classes": classes} if isinstance(targets, Labels) else {}))


def _take(local: Any, trainer: Trainer) -> None:
    """Give an estimator the trained weights and the record of the training."""
    history = trainer.history
    assert history is not None
    local.network_.parameters = trainer.network.parameters
    local.loss_ = history.loss[-1] if history.loss else math.nan  # L-BFGS may begin at a minimum
    local.n_iter_ = len(history.loss)
    if local.solver == "lbfgs":
        return
    local.loss_curve_, local.best_loss_ = list(history.loss), min(history.loss)
    local.validation_loss_curve_ = list(history.validation_loss) or None
