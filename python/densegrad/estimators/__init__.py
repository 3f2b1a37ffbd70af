"""MLPClassifier and MLPRegressor: scikit-learn's multi-layer perceptrons, on the C++ core."""

from densegrad.estimators.classifier import MLPClassifier
from densegrad.estimators.regressor import MLPRegressor

# What pickles name them by, so that their files may move.
MLPClassifier.__module__ = MLPRegressor.__module__ = "densegrad"

__all__ = ["MLPClassifier", "MLPRegressor"]
