"""MLPClassifier and MLPRegressor: scikit-learn's multi-layer perceptrons, on the C++ core."""

from densegrad.estimators.classifier import MLPClassifier
from densegrad.estimators.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
