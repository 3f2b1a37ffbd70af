"""MLPClassifier and MLPRegressor: scikit-learn's multi-layer perceptrons, on the C++ core."""

from densegrad.estimators._classifier import MLPClassifier
from densegrad.estimators._regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
