"""The record of a fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from densegrad import _validation

#: Why a fit ended; "" if it ended with an error, or is not at its end.
ENDS: Final = ("", "epochs", "patience", "max_time", "schedule", "callback", "converged", "line_search")

_SHOWN = 5  # first and last epochs that a history prints


@dataclass(slots=True)
class Epoch:
    """The results of one epoch; the loop fills it in, and changes it no more once it is yielded."""

    #: From 0, in this fit.
    number: int
    #: Mean over the rows of the loss of their batch, just before its update, penalties included.
    loss: float
    #: Learning rate of the last update; None if the solver has none.
    learning_rate: float | None
    #: Seconds of training, without validation and callbacks.
    seconds: float
    #: Rows trained on.
    n_rows: int
    validation_loss: float | None = None
    score: float | None = None
    #: Why the fit ends with this epoch; "" if it does not.
    stopped: str = ""

    def monitored(self) -> float:
        """Return the number that schedules and patience follow, lower is better.

        Minus the score; without a score the validation loss; without either the training loss.
        """
        if self.score is not None:
            return -self.score
        return self.loss if self.validation_loss is None else self.validation_loss

    def logs(self) -> dict[str, float]:
        """Return the figures that callbacks get, by name."""
        figures = {
            "loss": self.loss,
            "validation_loss": self.validation_loss,
            "score": self.score,
            "learning_rate": self.learning_rate,
            "seconds": self.seconds,
        }
        return {name: value for name, value in figures.items() if value is not None}


@dataclass(repr=False)
class History:
    """The record of a fit, one number an epoch.

    Attributes
    ----------
    loss : list of float
        Mean over the rows of the loss of their batch, just before its update, penalties included. With LBFGS
        the loss of all rows after the iteration.
    validation_loss : list of float
        Loss on the validation set after the epoch; empty without one.
    score : list of float
        The scores that `scoring` returned; empty without it.
    learning_rate : list of float
        Learning rate of the epoch's last update.
    seconds : list of float
        Seconds that the epoch trained, without validation and callbacks.
    best_epoch : int or None
        Number, from 0, of the epoch with the best score or the lowest loss; None before the first.
    stopped : str
        Why the fit ended: "epochs", "patience", "max_time", "schedule" or "callback"; "" if it ended with an
        error. With LBFGS also "converged", or "line_search" if that found no lower loss.

    Examples
    --------
    >>> import numpy as np
    >>> from densegrad import Dense, Network, Trainer
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> net = Network(2, [Dense(8, "tanh"), Dense(1)], random_state=0)
    >>> history = Trainer(net, random_state=0).fit(X, X.sum(axis=1), epochs=3)
    >>> len(history.loss), history.stopped, sorted(history.lists())
    (3, 'epochs', ['learning_rate', 'loss', 'seconds'])
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    score: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    stopped: str = ""

    def append(self, epoch: Epoch) -> None:
        """Add the figures of an epoch."""
        self.loss.append(epoch.loss)
        self.seconds.append(epoch.seconds)
        if epoch.learning_rate is not None:
            self.learning_rate.append(epoch.learning_rate)
        if epoch.validation_loss is not None:
            self.validation_loss.append(epoch.validation_loss)
        if epoch.score is not None:
            self.score.append(epoch.score)

    def to_state(self) -> dict[str, Any]:
        """Return plain data to make this record of again."""
        return dict(vars(self))

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> History:
        """Return the record that gave `to_state`."""
        record = cls(**state)
        for name, value in vars(record).items():
            if name not in ("best_epoch", "stopped"):
                setattr(record, name, [_validation.number(name, number) for number in value])
        if record.best_epoch is not None:
            _validation.integer("best_epoch", record.best_epoch, 0)
        _validation.choice("stopped", record.stopped, ENDS)
        return record

    def first(self, n_epochs: int, best_epoch: int | None, stopped: str) -> History:
        """Return the record as it was after so many epochs."""
        lists = {name: value[:n_epochs] for name, value in vars(self).items() if isinstance(value, list)}
        return History(**lists, best_epoch=best_epoch, stopped=stopped)

    def lists(self) -> dict[str, list[float]]:
        """Return the lists that have numbers, by their names."""
        return {name: value for name, value in vars(self).items() if isinstance(value, list) and value}

    def __repr__(self) -> str:
        """Return a table of the first and last epochs, the best epoch, and why the fit ended."""
        lists, n_epochs = self.lists(), len(self.loss)
        lines = [f"{type(self).__name__} of {n_epochs} epoch{'s' * (n_epochs != 1)}"]
        if self.best_epoch is not None:
            lines[0] += f", the best is {self.best_epoch}"
        if self.stopped:
            lines[0] += f", ended by {self.stopped}"
        if n_epochs:
            lines.append(" ".join([f"{'epoch':>6}", *(f"{name:>15}" for name in lists)]))
        for epoch in range(n_epochs):
            if n_epochs > 2 * _SHOWN and _SHOWN <= epoch < n_epochs - _SHOWN:
                if epoch == _SHOWN:
                    lines.append(f"{'...':>6}")
                continue
            figures = (f"{v[epoch]:>15.4g}" if epoch < len(v) else f"{'':>15}" for v in lists.values())
            lines.append(" ".join([f"{epoch:>6}", *figures]))
        return "\n".join(lines)

    def last(self) -> dict[str, float]:
        """Return the last number of each list that has one."""
        return {name: value[-1] for name, value in self.lists().items()}
