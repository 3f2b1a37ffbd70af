"""The user's callbacks and the progress bar, which see each epoch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np

from densegrad import _validation
from densegrad.training.history import Epoch

#: Called after each epoch with its number, from 0, and its figures by name; True ends the fit.
Callback: TypeAlias = Callable[[int, dict[str, float]], Any]


def callbacks_from(callbacks: Any) -> tuple[Callback, ...]:
    """Return the callbacks as a tuple of callables."""
    given = tuple(callbacks) if isinstance(callbacks, Iterable) else (None,)
    if not all(callable(function) for function in given):
        raise TypeError(f"callbacks must be an iterable of callables f(epoch, logs); got {callbacks!r}")
    return given


class StepObservers:
    """The callbacks that are also called in the middle of an epoch, every few updates.

    These have an attribute `every_steps`, a whole number, and a method ``after_step(step)``.
    """

    def __init__(self, callbacks: tuple[Callback, ...] = ()) -> None:
        self._callbacks: list[tuple[int, Callable[[int], Any]]] = []
        for callback in callbacks:
            every = getattr(callback, "every_steps", None)
            if every is None:
                continue
            after_step = getattr(callback, "after_step", None)
            if not callable(after_step):
                raise TypeError(
                    f"a callback with every_steps must have a method after_step(step); got {callback!r}"
                )
            self._callbacks.append((_validation.integer("every_steps", every, 1), after_step))

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    def next_after(self, step: int) -> int:
        """Return the number of the next update after `step` that one of them is to see."""
        return min(((step // every + 1) * every for every, _ in self._callbacks), default=sys.maxsize)

    def see(self, step: int) -> None:
        """Call those whose turn it is after the update of this number, from 1."""
        for every, after_step in self._callbacks:
            if step % every == 0:
                after_step(step)


class Observers:
    """Callbacks and progress bar, open while the fit runs (`with`).

    Parameters
    ----------
    callbacks : tuple of callables
    epochs : int
        Largest number of epochs, the length of the bar.
    progress : bool
        Whether to show a bar.
    title : str or None
        Text in front of the bar.
    done : int
        Epochs that an earlier run of the same training has done.
    """

    def __init__(
        self,
        callbacks: tuple[Callback, ...],
        epochs: int,
        progress: bool,
        title: str | None = None,
        done: int = 0,
    ) -> None:
        self._callbacks = callbacks
        self._bar: Any = None
        if progress:
            from tqdm import tqdm

            self._bar = tqdm(total=epochs, initial=done, unit="epoch", desc=title)

    def __enter__(self) -> Observers:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def see(self, epoch: Epoch) -> bool:
        """Show an epoch to all; True if a callback ends the fit."""
        if self._bar is None and not self._callbacks:
            return False
        logs = epoch.logs()
        if self._bar is not None:
            shown = {name: f"{value:.4g}" for name, value in logs.items() if name != "seconds"}
            self._bar.set_postfix(shown, refresh=False)
            self._bar.update()
        # All callbacks see the epoch, even after one has ended the fit.
        answers = [callback(epoch.number, logs) for callback in self._callbacks]
        # A comparison of NumPy's numbers gives NumPy's True.
        return any(isinstance(answer, bool | np.bool_) and bool(answer) for answer in answers)
