"""scikit-learn's callback protocol (1.9 and later), and nothing in its place before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["CallbackSupportMixin", "FitHooks", "with_callbacks"]

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in if scikit-learn has no callbacks yet."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """Return the method as it is."""
        return method


class FitHooks:
    """Calls scikit-learn's callbacks around a fit and around each of its epochs or iterations.

    Costs nothing an epoch if no callback is set.
    """

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any) -> None:
        self._estimator = estimator
        self._context = None
        if hasattr(estimator, "_init_callback_context"):
            self._context = estimator._init_callback_context(max_subtasks=estimator.max_iter)
        self.active = bool(getattr(estimator, "_skl_callbacks", None))
        self._epoch: Any = None
        self._given: dict[str, Any] = {
            "X": X,
            "y": y,
            "metadata": None if sample_weight is None else {"sample_weight": sample_weight},
        }
        if self.active and self._context is not None:
            self._context.call_on_fit_task_begin(estimator=estimator, **self._given)

    def epoch_begins(self) -> None:
        """Open the task of an epoch."""
        if self.active and self._context is not None:
            self._epoch = self._context.subcontext(task_name="epoch")
            self._epoch.call_on_fit_task_begin(
                estimator=self._estimator, reconstruction_attributes=self._fitted, **self._given
            )

    def epoch_ends(self) -> bool:
        """Close it; True if a callback asks to stop."""
        if self._epoch is None:
            return False
        epoch, self._epoch = self._epoch, None
        stop = epoch.call_on_fit_task_end(
            estimator=self._estimator, reconstruction_attributes=self._fitted, **self._given
        )
        return bool(stop)

    def fit_ends(self) -> None:
        """Close the task of the fit, and that of an epoch that ended early."""
        self.epoch_ends()
        if self.active and self._context is not None:
            self._context.call_on_fit_task_end(
                estimator=self._estimator, reconstruction_attributes=self._fitted, **self._given
            )

    @staticmethod
    def _fitted() -> dict[str, Any]:
        return {}  # scikit-learn sets these in a copy of the estimator, which is as fitted as the estimator
