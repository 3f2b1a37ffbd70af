"""Tables: from a data frame to a fitted model, with defaults that need no tuning."""

from densegrad.tabular.classifier import TabularClassifier
from densegrad.tabular.encoder import TabularEncoder
from densegrad.tabular.regressor import TabularRegressor

__all__ = ["TabularClassifier", "TabularEncoder", "TabularRegressor"]
