"""The caller's own callbacks, f(epoch, logs), and the progress bar."""

from __future__ import annotations

from typing import Any

import numpy as np

from densegrad.history import ProgressBar, ask_callbacks


class Watcher:
    """Tells both what each epoch came to."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator
        self.callbacks = tuple(estimator.callbacks or ())
        self.bar = ProgressBar(estimator.max_iter, estimator.progress, type(estimator).__name__)

    def stops(self, epoch: int, loss: float, seconds: float, rate: Any = None) -> bool:
        """Tell all what the epoch, numbered from 0, came to; True where a callback ends the training."""
        logs: dict[str, float] = {"loss": loss}
        if rate is not None:
            logs["learning_rate"] = float(np.ravel(rate)[-1])
        if getattr(self.estimator, "validation_scores_", None):
            logs["validation_loss"] = self.estimator.validation_loss_curve_[-1]
            logs["score"] = self.estimator.validation_scores_[-1]
        logs["seconds"] = seconds
        self.bar.update(logs)
        return ask_callbacks(self.callbacks, epoch, logs)

    def close(self) -> None:
        """Leave the progress bar as it is."""
        self.bar.close()


def watcher(estimator: Any) -> Watcher | None:
    """Return a Watcher where there is somebody to tell."""
    return Watcher(estimator) if estimator.callbacks or estimator.progress else None
