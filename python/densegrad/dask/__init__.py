"""Networks and estimators on Dask collections. The extra `dask` installs what this needs.

Dask is imported when a function is first called.
"""

from __future__ import annotations

from densegrad.dask.predictions import predict, predict_proba

__all__ = ["predict", "predict_proba"]
