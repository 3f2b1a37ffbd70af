"""Tables: from a data frame to a fitted model, with defaults that need no tuning."""

from densegrad.tabular.encoder import TabularEncoder

__all__ = ["TabularEncoder"]
