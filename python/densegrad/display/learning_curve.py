"""Loss, score and learning rate over the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from densegrad import History
from densegrad.display._drawing import colours_on, panels, plain, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


class LearningCurveDisplay:
    """Curves of a fit: loss, validation loss, score, learning rate, with the best epoch marked.

    Parameters
    ----------
    loss : sequence of float
        One number an epoch, as all the others.
    validation_loss, score, learning_rate : sequence of float, default ()
        Empty if there is none.
    best_epoch : int or None
        Its number, from 0. Drawn if there is a validation loss or a score.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of matplotlib Axes
        The panels: losses, then the score and the learning rate if they were given.

    Examples
    --------
    >>> import numpy as np
    >>> from densegrad import Dense, Network, Trainer
    >>> from densegrad.display import LearningCurveDisplay
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> net = Network(3, [Dense(8, "tanh"), Dense(1, "identity")], random_state=0)
    >>> history = Trainer(net, random_state=0).fit(X, X[:, :1], epochs=5)
    >>> display = LearningCurveDisplay.from_history(history)
    >>> [ax.get_ylabel() for ax in display.axes_]
    ['loss', 'learning rate']
    """

    figure_: Figure
    axes_: NDArray[Any]

    def __init__(
        self,
        loss: Sequence[float],
        *,
        validation_loss: Sequence[float] = (),
        score: Sequence[float] = (),
        learning_rate: Sequence[float] = (),
        best_epoch: int | None = None,
    ) -> None:
        if len(loss) == 0:
            raise ValueError("loss must have at least one epoch; got none")
        self.loss, self.validation_loss = list(loss), list(validation_loss)
        self.score, self.learning_rate = list(score), list(learning_rate)
        self.best_epoch = best_epoch

    @classmethod
    def from_history(cls, history: History, *, log: bool = False, ax: Any = None) -> LearningCurveDisplay:
        """Draw the history that `Trainer.fit` returned.

        Parameters
        ----------
        history : History
        log : bool, default False
            Draw the loss on a logarithmic scale.
        ax : matplotlib Axes, sequence of them or None
            One axes is divided into panels; several take a panel each. None makes a figure.

        Returns
        -------
        LearningCurveDisplay
        """
        if not isinstance(history, History):
            raise TypeError(f"history must be a History, as Trainer.fit returns it; got {history!r}")
        return cls(
            history.loss,
            validation_loss=history.validation_loss,
            score=history.score,
            learning_rate=history.learning_rate,
            best_epoch=history.best_epoch,
        ).plot(ax, log=log)

    @classmethod
    def from_estimator(cls, estimator: Any, *, log: bool = False, ax: Any = None) -> LearningCurveDisplay:
        """Draw the curves of a fitted estimator: its ``loss_curve_`` and those beside it.

        Parameters
        ----------
        estimator : MLPClassifier or MLPRegressor
            Not fitted by 'lbfgs', which has no epochs.
        log, ax
            As for `from_history`.

        Returns
        -------
        LearningCurveDisplay
        """
        loss = getattr(estimator, "loss_curve_", None)
        if not loss:
            raise ValueError(
                f"{type(estimator).__name__} has no loss_curve_: fit it, with another solver than 'lbfgs'"
            )
        scores = getattr(estimator, "validation_scores_", None) or []
        best = int(np.argmax(scores)) if scores else int(np.argmin(loss))
        return cls(
            loss,
            validation_loss=getattr(estimator, "validation_loss_curve_", None) or [],
            score=scores,
            best_epoch=best,
        ).plot(ax, log=log)

    def plot(self, ax: Any = None, *, log: bool = False) -> LearningCurveDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax, log
            As for `from_history`.

        Returns
        -------
        LearningCurveDisplay
        """
        others = [
            (name, values)
            for name, values in (("score", self.score), ("learning rate", self.learning_rate))
            if values
        ]
        figure, axes = panels(ax, 1 + len(others), (7.0, 2.6))
        colours = colours_on(axes[0])
        self._curve(axes[0], self.loss, "training", colours.forward)
        if self.validation_loss:
            self._curve(axes[0], self.validation_loss, "validation", colours.backward)
        axes[0].set_ylabel("loss")
        if log:
            axes[0].set_yscale("log")
        for panel, (name, values) in zip(axes[1:], others, strict=True):
            self._curve(panel, values, name, colours.weights if name == "score" else colours.faint)
            panel.set_ylabel(name)
        # The last epoch of a falling training loss would be no news.
        chosen = bool(self.validation_loss or self.score)
        for panel in axes:
            plain(panel)
            panel.set_xlim(-0.5, len(self.loss) - 0.5)
            whole_numbers(panel.xaxis)
            if self.best_epoch is not None and chosen and panel.get_ylabel() != "learning rate":
                panel.axvline(
                    self.best_epoch,
                    color=colours.faint,
                    linestyle="--",
                    linewidth=1,
                    zorder=0,
                    label=f"best epoch {self.best_epoch}",
                )
        axes[0].legend(frameon=False)
        axes[-1].set_xlabel("epoch")
        for panel in axes[:-1]:
            panel.tick_params(labelbottom=False)
        self.figure_, self.axes_ = figure, np.array(axes, dtype=object)
        return self

    def _curve(self, ax: Axes, values: Sequence[float], label: str, color: str) -> None:
        """Draw a line; if there is a single epoch, draw a dot."""
        ax.plot(range(len(values)), values, label=label, color=color, marker="o" if len(values) == 1 else "")
