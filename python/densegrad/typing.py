"""Types of the names that arguments take: a type checker reports a wrong one before the program runs."""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = [
    "ActivationName",
    "ClassificationLossName",
    "HiddenActivationName",
    "LearningRateName",
    "LossName",
    "OptimizerName",
    "RegressionLossName",
    "ScheduleName",
    "SolverName",
]

#: Activations of hidden layers.
HiddenActivationName: TypeAlias = Literal[
    "identity",
    "relu",
    "leaky_relu",
    "tanh",
    "logistic",
    "softplus",
    "elu",
    "selu",
    "silu",
    "gelu",
    "mish",
]
#: Activations of `Dense`, with those that only a head has.
ActivationName: TypeAlias = HiddenActivationName | Literal["exp", "softmax"]

#: Losses of `MLPRegressor`.
RegressionLossName: TypeAlias = Literal[
    "squared_error",
    "poisson",
    "absolute_error",
    "huber",
    "log_cosh",
    "quantile",
    "gamma",
    "tweedie",
    "gaussian_nll",
]
#: Losses of `MLPClassifier`.
ClassificationLossName: TypeAlias = Literal["log_loss", "focal", "hinge", "squared_hinge"]
#: Losses of `Network`.
LossName: TypeAlias = RegressionLossName | ClassificationLossName

#: Optimizers of `Trainer`.
OptimizerName: TypeAlias = Literal["sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad", "lion", "lbfgs"]
#: `solver` of the estimators.
SolverName: TypeAlias = OptimizerName

#: `schedule` of `Trainer` and the estimators.
ScheduleName: TypeAlias = Literal[
    "constant",
    "invscaling",
    "adaptive",
    "step",
    "cosine",
    "one_cycle",
    "flat_cos",
    "coslog",
    "warm_up",
    "plateau",
]
#: `learning_rate` of the estimators.
LearningRateName: TypeAlias = Literal["constant", "invscaling", "adaptive"]
