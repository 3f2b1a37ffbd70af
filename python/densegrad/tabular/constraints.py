"""Constraints of parameters by which True and False are no numbers, as they are for scikit-learn."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval


class Numbers(Interval):
    """An interval of numbers without True and False."""

    def is_satisfied_by(self, val: Any) -> bool:
        """Tell whether a value is in the interval."""
        return not isinstance(val, bool) and bool(super().is_satisfied_by(val))


#: The sources of random numbers that scikit-learn allows.
RANDOM_STATE = [Numbers(Integral, 0, 2**32 - 1, closed="both"), np.random.RandomState, None]
