"""MLPClassifier and MLPRegressor: scikit-learn's multi-layer perceptrons, on the C++ core."""

from densegrad.estimators.classifier import MLPClassifier
from densegrad.estimators.regressor import MLPRegressor

# Their names in pickles, so that their files may move.
MLPClassifier.__module__ = MLPRegressor.__module__ = "densegrad"

__all__ = ["MLPClassifier", "MLPRegressor"]
