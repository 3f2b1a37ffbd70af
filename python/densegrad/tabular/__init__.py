"""Tables: from a data frame to a fitted model, with defaults that need no tuning."""

from densegrad.tabular.classifier import TabularClassifier
from densegrad.tabular.encoder import TabularEncoder
from densegrad.tabular.regressor import TabularRegressor

# Their names in pickles, so that their files may move.
TabularClassifier.__module__ = TabularEncoder.__module__ = TabularRegressor.__module__ = "densegrad"

__all__ = ["TabularClassifier", "TabularEncoder", "TabularRegressor"]
