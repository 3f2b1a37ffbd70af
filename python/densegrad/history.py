"""What a fit saw, and when it is to end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from densegrad import _validation
from densegrad.network import Network

#: Called after each epoch with its number, from 0, and what `History` got for it; True ends the fit.
Callback: TypeAlias = Callable[[int, dict[str, float]], Any]


@dataclass
class History:
    """What a fit saw, one number an epoch."""

    #: Mean over the rows of the loss of their batch, just before its update, penalties included.
    loss: list[float] = field(default_factory=list)
    #: Loss on the validation set after the epoch; empty without one.
    validation_loss: list[float] = field(default_factory=list)
    #: What `scoring` returned; empty without it.
    score: list[float] = field(default_factory=list)
    #: Of the epoch's last update.
    learning_rate: list[float] = field(default_factory=list)
    #: Of the epoch's training, without validation and callbacks.
    seconds: list[float] = field(default_factory=list)
    #: The number, from 0, of the epoch with the best score or the lowest loss; None before the first.
    best_epoch: int | None = None
    #: Why the fit ended: "epochs", "patience", "max_time", "schedule" or "callback"; "" when an error ended
    #: it.
    stopped: str = ""

    def lists(self) -> dict[str, list[float]]:
        """Return the lists that have numbers, by their names."""
        return {name: value for name, value in vars(self).items() if isinstance(value, list) and value}

    def last(self) -> dict[str, float]:
        """Return the last number of each list that has one."""
        return {name: value[-1] for name, value in self.lists().items()}


class Best:
    """The best epoch so far, and how long ago it was."""

    def __init__(self, patience: int | None, tol: float, restore: bool) -> None:
        self.patience = None if patience is None else _validation.integer("patience", patience, 1)
        self.tol = _validation.real("tol", tol, 0)
        self.keep_weights = _validation.boolean("restore_best", restore) and patience is not None
        self.epoch: int | None = None
        self.lowest = self.reference = math.inf
        self.waited = 0
        self.weights: NDArray[Any] | None = None

    def see(self, epoch: int, loss: float, network: Network) -> bool:
        """Take note of an epoch; return whether the patience is at its end."""
        self.waited = 0 if loss < self.reference - self.tol else self.waited + 1
        self.reference = min(self.reference, loss) if self.waited == 0 else self.reference
        if loss < self.lowest:
            self.lowest, self.epoch = loss, epoch
            if self.keep_weights:
                self.weights = network.parameters
        return self.patience is not None and self.waited >= self.patience

    def restore(self, network: Network) -> None:
        """Give the network the weights of the best epoch, where that was asked for."""
        if self.weights is not None:
            network.parameters = self.weights


def checked_callbacks(callbacks: Any) -> tuple[Callback, ...]:
    """Return the callbacks as a tuple."""
    checked = tuple(callbacks) if isinstance(callbacks, Iterable) else (None,)
    if not all(callable(function) for function in checked):
        raise TypeError(f"callbacks must be an iterable of callables; got {callbacks!r}")
    return checked


def ask_callbacks(callbacks: Iterable[Callback], epoch: int, logs: dict[str, float]) -> bool:
    """Tell whether a callback ends the fit; all of them see the epoch, also where an earlier one does."""
    answers = [callback(epoch, logs) for callback in callbacks]
    # A comparison of NumPy's numbers gives NumPy's True.
    return any(isinstance(answer, bool | np.bool_) and bool(answer) for answer in answers)


class ProgressBar:
    """A progress bar over the epochs, or none."""

    def __init__(self, epochs: int, show: bool, title: str | None = None) -> None:
        self.bar: Any = None
        if show:
            from tqdm import tqdm

            self.bar = tqdm(total=epochs, unit="epoch", desc=title)

    def __enter__(self) -> ProgressBar:
        return self

    def update(self, logs: dict[str, float]) -> None:
        """Show that an epoch is done."""
        if self.bar is not None:
            shown = {name: f"{value:.4g}" for name, value in logs.items() if name != "seconds"}
            self.bar.set_postfix(shown, refresh=False)
            self.bar.update()

    def close(self) -> None:
        """Leave the bar as it is."""
        if self.bar is not None:
            self.bar.close()

    def __exit__(self, *_: object) -> None:
        self.close()
