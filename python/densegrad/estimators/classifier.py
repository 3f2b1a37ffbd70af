"""MLPClassifier: its parameters and its predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._param_validation import Interval, StrOptions

from densegrad._losses import Loss
from densegrad._tables import LOSSES
from densegrad.estimators.base import BaseMLP
from densegrad.estimators.decorators import available_if, validated
from densegrad.estimators.docs import documented
from densegrad.estimators.parameters import CONSTRAINTS
from densegrad.estimators.targets import CLASSIFICATION_LOSSES, Labels
from densegrad.estimators.validation import accuracy
from densegrad.training.rates import AnySchedule
from densegrad.typing import (
    ClassificationLossName,
    HiddenActivationName,
    LearningRateName,
    ScheduleName,
    SolverName,
)


@documented("the accuracy")
class MLPClassifier(ClassifierMixin, BaseMLP[Labels]):
    """Multi-layer perceptron for classification: scikit-learn's, on densegrad's C++ core.

    Replaces :class:`sklearn.neural_network.MLPClassifier`. The parameters up to `max_fun`, the attributes,
    warnings and errors are the same, and so are the numbers for the same `random_state`. The parameters after
    `max_fun` are additions.

    Parameters
    ----------
    <parameters>
    <threads>
    class_weight : dict, 'balanced', list of dict or None, default=None
        Weight of each class, by label. Multiplied into the sample weights of training and validation rows. A
        class that is not named weighs 1. 'balanced' gives all classes of the training rows the same total
        weight. Multi-label targets take one dict for each label.
    loss : {'log_loss', 'focal', 'hinge', 'squared_hinge'} or callable, default='log_loss'
        The hinge losses are one versus the rest; they give `decision_function` instead of probabilities. A
        custom loss takes 0/1 indicators and predicted probabilities, both (batch, n_outputs_). It returns the
        loss of each row, (batch,), and its derivatives by the probabilities, (batch, n_outputs_).
    gamma : float, default=2.0
        Used by loss='focal', above 0: a higher value gives less weight to rows that are classified well.
    label_smoothing : float, default=0.0
        Used by loss='log_loss': the share of a target that is spread evenly over the classes, in [0, 1).
    <regularisation>

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels.
    <attributes>

    Examples
    --------
    >>> from densegrad import MLPClassifier
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.model_selection import train_test_split
    >>> X, y = make_classification(n_samples=200, random_state=1)
    >>> X_train, X_test, y_train, y_test = train_test_split(
    ...     X, y, stratify=y, random_state=1
    ... )
    >>> clf = MLPClassifier(random_state=1, max_iter=300, tol=1e-3).fit(X_train, y_train)
    >>> clf.predict(X_test[:5]).shape
    (5,)
    """

    _kind: ClassVar[str] = "MLPClassifier"
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CONSTRAINTS,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "loss": [StrOptions(set(CLASSIFICATION_LOSSES)), callable],
        "gamma": [Interval(Real, 0, None, closed="neither")],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: HiddenActivationName | Sequence[HiddenActivationName] = "relu",
        *,
        solver: SolverName = "adam",
        alpha: float = 0.0001,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: LearningRateName = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        n_threads: int | None = None,
        class_weight: Any = None,
        loss: ClassificationLossName | Callable[..., Any] = "log_loss",
        gamma: float = 2.0,
        label_smoothing: float = 0.0,
        dropout: float | list[float] = 0.0,
        l1: float = 0.0,
        weight_decay: float | None = None,
        max_norm: float | None = None,
        clip_norm: float | None = None,
        schedule: ScheduleName | AnySchedule | None = None,
        scoring: Any = None,
        restore_best: bool = True,
        max_time: float | None = None,
        callbacks: list[Callable[..., Any]] | None = None,
        progress: bool = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.n_threads = n_threads
        self.class_weight = class_weight
        self.loss = loss
        self.gamma = gamma
        self.label_smoothing = label_smoothing
        self.dropout = dropout
        self.l1 = l1
        self.weight_decay = weight_decay
        self.max_norm = max_norm
        self.clip_norm = clip_norm
        self.schedule = schedule
        self.scoring = scoring
        self.restore_best = restore_best
        self.max_time = max_time
        self.callbacks = callbacks
        self.progress = progress

    @available_if(lambda self: self._check_solver())
    @validated
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train for one epoch on the given rows, from the present state on.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or iterable of batches
            Without y, an iterable of mini-batches, (X, y) or (X, y, sample_weight). Each is trained on once.
            Ctrl-C ends the call with a warning, as in fit.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels; not all of the classes need to be among them.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights in the loss, not negative. None: all ones.
        classes : array-like of shape (n_classes,), default=None
            All labels of the whole training. Required in the first call only.

        Returns
        -------
        self : MLPClassifier
        """
        self._partial_fit(X, y, sample_weight, classes=classes)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable labels.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,) or, multi-label, (n_samples, n_labels)
        """
        outputs = self._forward(X)
        assert self._targets is not None
        return self._targets.labels(outputs, self._current_network().spec.loss)

    @available_if(lambda self: self._has_probabilities())
    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Columns in the order of `classes_`.
        """
        outputs = self._forward(X)
        if outputs.shape[1] > 1:
            return outputs
        both = np.empty((outputs.shape[0], 2), outputs.dtype)
        both[:, 1] = outputs[:, 0]
        np.subtract(1, both[:, 1], out=both[:, 0])
        return both

    @available_if(lambda self: self._has_probabilities())
    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """Return the logarithm of `predict_proba`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
        """
        probabilities = self.predict_proba(X)
        logarithms: NDArray[Any] = np.log(probabilities, out=probabilities)
        return logarithms

    @available_if(lambda self: self._has_decisions())
    def decision_function(self, X: Any) -> NDArray[Any]:
        """Return the margins of the hinge losses.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        margins : ndarray of shape (n_samples,) for two classes, else (n_samples, n_classes)
        """
        outputs = self._forward(X)
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    def _has_margins(self) -> bool:
        """Tell whether the loss gives margins in place of probabilities: the fitted one, if there is one."""
        fitted = self._fitted_loss()
        if fitted is None:
            return isinstance(self.loss, str) and self.loss in LOSSES and LOSSES[self.loss]["margin"]
        return LOSSES[fitted.name]["margin"]

    def _has_probabilities(self) -> bool:
        if self._has_margins():
            raise AttributeError("the loss gives margins and no probabilities; use decision_function")
        return True

    def _has_decisions(self) -> bool:
        if not self._has_margins():
            raise AttributeError("the loss gives probabilities and no margins; use predict_proba")
        return True

    @property
    def _label_binarizer(self) -> LabelBinarizer:
        """Under scikit-learn's private name, which converters written for its own classifier read."""
        if self._targets is None:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute '_label_binarizer' before fit"
            )
        return self._targets.binarizer

    # The base's parts, for classification.

    _kind_of_targets = Labels

    def _default_score(
        self, targets: Labels, y: NDArray[Any], sample_weight: NDArray[np.float64] | None, loss: Loss
    ) -> Callable[[NDArray[Any]], float]:
        expected = targets.expected(y)
        return lambda outputs: accuracy(targets.codes(outputs, loss), expected, sample_weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
