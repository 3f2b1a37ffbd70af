"""The rows that early stopping sets aside: scikit-learn's draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.model_selection import train_test_split

if TYPE_CHECKING:
    from densegrad.estimators._base import BaseMLP
    from densegrad.estimators._preparation import TrainingData


def split_rows(estimator: BaseMLP, data: TrainingData) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the row numbers to train on and those to validate on.

    A training that goes on with as many rows as before validates on the same ones.
    """
    n_rows = data.X.shape[0]
    before = estimator.__dict__.get("_split")
    if before is not None and before[0] == n_rows and estimator.t_ > 0:
        rng = np.random.RandomState()
        rng.set_state(before[1])
    else:
        rng = estimator._random_state
        estimator._split = (n_rows, rng.get_state(legacy=False))
    stratify = None
    if is_classifier(estimator) and estimator.n_outputs_ == 1:
        # Strings, because scikit-learn's own error names the classes so.
        stratify = np.where(data.target.astype(bool), "True", "False")
    training, validation = train_test_split(
        np.arange(n_rows), random_state=rng, test_size=estimator.validation_fraction, stratify=stratify
    )
    if validation.shape[0] < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
        )
    return training, validation
