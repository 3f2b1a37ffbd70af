"""Decision boundaries of networks with two features, as they move over the epochs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from densegrad import Network
from densegrad.display._drawing import panels
from densegrad.display._models import count_rows, network_of, target_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours of the classes, which stay apart for colour-blind readers (Okabe and Ito), and their marks.
_HUES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c8c00", "#5c5c5c")
_MARKS = "o^sDvP*X"


@dataclass(frozen=True, eq=False)
class _Grid:
    """The points that the network is asked at: a grid over the rows, with a margin."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]

    @classmethod
    def over(cls, X: NDArray[Any], resolution: int) -> _Grid:
        low, high = X.min(axis=0), X.max(axis=0)
        margin = np.where(high > low, 0.1 * (high - low), 0.5)
        return cls(*np.linspace(low - margin, high + margin, resolution).T)

    def points(self) -> NDArray[np.float64]:
        """Return the points, (resolution², 2)."""
        return np.stack(np.meshgrid(self.x, self.y), axis=-1).reshape(-1, 2)

    def outputs(self, network: Network) -> NDArray[Any]:
        """Return y_(L) at the points, (resolution, resolution, n_L)."""
        return network.predict(self.points()).reshape(len(self.y), len(self.x), -1)


def _two_features(network: Network | None, X: Any) -> NDArray[np.float64]:
    rows = np.asarray(X, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != 2 or len(rows) == 0:
        raise ValueError(f"X must have two features, shape (n_rows, 2), to draw a boundary; got {rows.shape}")
    if network is not None and network.n_inputs != 2:
        raise ValueError(f"the network must have two inputs to draw a boundary; got {network.n_inputs}")
    return rows


def _feature_names(X: Any) -> tuple[str, str]:
    """Return the names of a data frame's columns, or those of columns without names."""
    first, second = X.columns if hasattr(X, "columns") else ("feature 0", "feature 1")
    return str(first), str(second)


class DecisionBoundaryRecorder:
    """A callback that keeps the network's outputs over the plane of its two features.

    It goes into ``callbacks`` of `Trainer.fit` or of an estimator.

    Parameters
    ----------
    model : Network or estimator
        The object that is trained; with an estimator the one whose fit is called, not a clone of it.
    X, target : array-like
        The rows that are drawn as dots.
    epochs : iterable of int or None
        The epochs to keep, from 0; None keeps 0, 1, 3, 7, 15, …
    resolution : int, default 120
        Points of the grid in each direction.

    Attributes
    ----------
    outputs : dict of int to ndarray of shape (resolution, resolution, n_L)
        By the epoch.

    Examples
    --------
    >>> import numpy as np
    >>> from densegrad import Dense, Network, Trainer
    >>> from densegrad.display import DecisionBoundaryDisplay, DecisionBoundaryRecorder
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> t = (X[:, 0] * X[:, 1] > 0).astype(int)
    >>> net = Network(
    ...     2, [Dense(8, "tanh"), Dense(1, "logistic")], loss="log_loss", random_state=0
    ... )
    >>> recorder = DecisionBoundaryRecorder(net, X, t, epochs=[0, 4], resolution=30)
    >>> history = Trainer(net, random_state=0).fit(X, t, epochs=5, callbacks=[recorder])
    >>> [ax.get_title() for ax in DecisionBoundaryDisplay.from_recorder(recorder).axes_]
    ['epoch 0', 'epoch 4']
    """

    def __init__(
        self,
        model: Any,
        X: Any,
        target: Any,
        *,
        epochs: Iterable[int] | None = None,
        resolution: int = 120,
    ) -> None:
        self.X = _two_features(model if isinstance(model, Network) else None, X)
        self.feature_names = _feature_names(X)
        self.target = np.asarray(target)
        if len(self.target) != len(self.X):
            raise ValueError(f"target must have {len(self.X)} rows, as X has; got {len(self.target)}")
        self.model = model
        self.chosen = None if epochs is None else frozenset(epochs)
        self.grid = _Grid.over(self.X, resolution)
        self.outputs: dict[int, NDArray[Any]] = {}

    def __call__(self, epoch: int, logs: dict[str, float]) -> None:
        """Keep the epoch if it is one of those to keep."""
        wanted = (epoch + 1) & epoch == 0 if self.chosen is None else epoch in self.chosen
        if wanted:
            self.record(epoch)

    def record(self, epoch: int) -> None:
        """Keep the network's outputs as they are, under your own number."""
        network = network_of(self.model)
        _two_features(network, self.X)
        self.outputs[epoch] = self.grid.outputs(network)


class DecisionBoundaryDisplay:
    """The outputs of a network over the plane of its two features, one panel an epoch.

    Each class has a colour, which is paler if the network is less sure; the boundary is a line. The rows have
    the colour of their own class, and its mark. For a regression the value is drawn.

    Parameters
    ----------
    outputs : dict of str to ndarray of shape (resolution, resolution, n_L)
        By the panel's title.
    grid : object with x and y
        The coordinates of the points.
    X : ndarray of shape (n_rows, 2)
    target : ndarray
        As the network takes it.
    threshold : float or None
        The boundary of a single output: 0.5, or 0 for the hinge losses; None for a regression.
    feature_names : tuple of str, default ("feature 0", "feature 1")
    class_names : sequence of str or None
        None numbers the classes.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from densegrad import Dense, Network
    >>> from densegrad.display import DecisionBoundaryDisplay
    >>> X = np.random.default_rng(0).normal(size=(50, 2))
    >>> net = Network(
    ...     2, [Dense(8, "tanh"), Dense(3, "softmax")], loss="log_loss", random_state=0
    ... )
    >>> DecisionBoundaryDisplay.from_network(
    ...     net, X, np.zeros(50, int), resolution=30
    ... ).axes_.shape
    (1,)
    """

    figure_: Figure
    axes_: NDArray[Any]

    def __init__(
        self,
        outputs: dict[str, NDArray[Any]],
        grid: Any,
        X: NDArray[Any],
        target: NDArray[Any],
        *,
        threshold: float | None,
        feature_names: tuple[str, str] = ("feature 0", "feature 1"),
        class_names: Sequence[str] | None = None,
    ) -> None:
        if not outputs:
            raise ValueError(
                "there must be at least one epoch to draw: give the recorder to callbacks of a fit"
            )
        self.outputs, self.grid, self.X, self.target = outputs, grid, X, target
        self.threshold = threshold
        self.feature_names, self.class_names = feature_names, class_names

    @classmethod
    def from_recorder(cls, recorder: DecisionBoundaryRecorder, *, ax: Any = None) -> DecisionBoundaryDisplay:
        """Draw the epochs that a recorder kept.

        Parameters
        ----------
        recorder : DecisionBoundaryRecorder
        ax : matplotlib Axes, sequence of them or None
            One axes is divided into panels; several take a panel each. None makes a figure.

        Returns
        -------
        DecisionBoundaryDisplay
        """
        if not recorder.outputs:
            raise ValueError("the recorder has no epoch yet: give it to callbacks of a fit, or call record")
        network = network_of(recorder.model)
        target = target_of(recorder.model, recorder.target)
        outputs = {f"epoch {epoch}": values for epoch, values in recorder.outputs.items()}
        return cls(
            outputs,
            recorder.grid,
            recorder.X,
            target,
            threshold=_threshold(network),
            feature_names=recorder.feature_names,
            class_names=_class_names(recorder.model),
        ).plot(ax)

    @classmethod
    def from_network(
        cls, network: Network, X: Any, target: Any, *, resolution: int = 160, ax: Any = None
    ) -> DecisionBoundaryDisplay:
        """Draw the network as it is.

        Parameters
        ----------
        network : Network
            Of two inputs.
        X, target : array-like
            The rows that are drawn as dots.
        resolution : int, default 160
            Points of the grid in each direction.
        ax : matplotlib Axes or None
            None makes a figure.

        Returns
        -------
        DecisionBoundaryDisplay

        Raises
        ------
        ValueError
            If there are not two features.
        """
        return cls._of(network, X, target, None, resolution).plot(ax)

    @classmethod
    def _of(
        cls, network: Network, X: Any, target: Any, class_names: Sequence[str] | None, resolution: int
    ) -> DecisionBoundaryDisplay:
        rows = _two_features(network, X)
        if count_rows(target) != len(rows):
            raise ValueError(f"target must have {len(rows)} rows, as X has; got {count_rows(target)}")
        grid = _Grid.over(rows, resolution)
        outputs = {"": grid.outputs(network)}
        return cls(
            outputs,
            grid,
            rows,
            np.asarray(target),
            threshold=_threshold(network),
            feature_names=_feature_names(X),
            class_names=class_names,
        )

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, resolution: int = 160, ax: Any = None
    ) -> DecisionBoundaryDisplay:
        """Draw a fitted estimator of two features.

        Parameters
        ----------
        estimator : MLPClassifier or MLPRegressor
        X, y
            The rows that are drawn as dots.
        resolution, ax
            As for `from_network`.

        Returns
        -------
        DecisionBoundaryDisplay
        """
        network = network_of(estimator)
        _two_features(network, X)
        target = target_of(estimator, y)
        return cls._of(network, X, target, _class_names(estimator), resolution).plot(ax)

    def plot(self, ax: Any = None) -> DecisionBoundaryDisplay:
        """Draw one panel an epoch.

        Parameters
        ----------
        ax
            As for `from_recorder`.

        Returns
        -------
        DecisionBoundaryDisplay
        """
        count = len(self.outputs)
        columns = min(count, 4)
        figure, axes = panels(ax, count, (5.0, 4.4) if count == 1 else (3.3, 3.1), columns)
        for k, (panel, (title, outputs)) in enumerate(zip(axes, self.outputs.items(), strict=True)):
            if self.threshold is None:
                self._values(panel, outputs)
            else:
                self._classes(panel, outputs, self.threshold)
            panel.set_title(title, fontsize="medium")
            panel.tick_params(labelsize="small")
            if k + columns >= count:
                panel.set_xlabel(self.feature_names[0])
            if k % columns == 0:
                panel.set_ylabel(self.feature_names[1])
        if self.threshold is not None:
            marks, names = axes[0].get_legend_handles_labels()
            if ax is None:
                columns = min(len(names), 6)
                figure.legend(
                    marks, names, loc="outside lower center", ncols=columns, frameon=False, markerscale=1.5
                )
            else:
                axes[0].legend(marks, names, framealpha=0.85, fontsize="small")
        self.figure_, self.axes_ = figure, np.array(axes, dtype=object)
        return self

    def _classes(self, ax: Axes, outputs: NDArray[Any], threshold: float) -> None:
        from matplotlib.colors import to_rgb

        n_classes = max(outputs.shape[2], 2)
        hues = [to_rgb(_HUES[k % len(_HUES)]) for k in range(n_classes)]
        if outputs.shape[2] == 1:
            class_1 = np.clip(outputs[..., 0] if threshold else (outputs[..., 0] + 1) / 2, 0, 1)
            sureness = np.stack([1 - class_1, class_1], axis=-1)
        else:
            sureness = outputs
        winner = sureness.argmax(axis=-1)
        best = np.take_along_axis(sureness, winner[..., np.newaxis], -1)
        # A class that just wins has a quarter of its colour; one that is certain has three quarters.
        strength = 0.2 + 0.55 * np.clip((best - 1 / n_classes) / (1 - 1 / n_classes), 0, 1)
        image = 1 - strength * (1 - np.array(hues)[winner])
        ax.imshow(image, origin="lower", extent=self._extent(), aspect="auto", interpolation="bilinear")
        for k in range(1 if n_classes == 2 else 0, n_classes):
            if n_classes == 2:
                margin = sureness[..., 1] - 0.5
            else:
                others = np.delete(sureness, k, axis=-1).max(axis=-1)
                margin = sureness[..., k] - others
            if margin.min() < 0 < margin.max():
                ax.contour(self.grid.x, self.grid.y, margin, levels=[0.0], colors="black", linewidths=1.2)
        several = self.target.ndim == 2 and self.target.shape[1] > 1
        labels = self.target.argmax(axis=1) if several else np.ravel(self.target)
        numbers = labels.astype(int) % n_classes
        for k in np.unique(numbers):
            x, y = self.X[numbers == k].T
            ax.scatter(
                x,
                y,
                color=0.75 * np.array(hues[k]),
                marker=_MARKS[k % len(_MARKS)],
                s=22,
                edgecolors="white",
                linewidths=0.7,
                label=str(k) if self.class_names is None else self.class_names[k],
            )

    def _values(self, ax: Axes, outputs: NDArray[Any]) -> None:
        target = self.target.reshape(len(self.target), -1)[:, 0]
        values = outputs[..., 0]
        scale = {
            "vmin": min(values.min(), target.min()),
            "vmax": max(values.max(), target.max()),
            "cmap": "viridis",
        }
        image = ax.imshow(values, origin="lower", extent=self._extent(), aspect="auto", **scale)
        ax.scatter(self.X[:, 0], self.X[:, 1], c=target, s=16, edgecolors="white", linewidths=0.5, **scale)
        # Axes without a figure are None in the types; `imshow` has already drawn in these.
        ax.get_figure().colorbar(image, ax=ax, label="value")  # type: ignore[union-attr]

    def _extent(self) -> tuple[float, float, float, float]:
        x, y = self.grid.x, self.grid.y
        return float(x[0]), float(x[-1]), float(y[0]), float(y[-1])


def _threshold(network: Network) -> float | None:
    """Return the output at which the class changes; None if the network predicts values."""
    if network.target_kind == "values":
        return None
    return 0.0 if network.loss in ("hinge", "squared_hinge") else 0.5


def _class_names(model: Any) -> list[str] | None:
    """Return the labels of a classifier's classes."""
    classes = getattr(model, "classes_", None)
    return None if classes is None else [str(label) for label in classes]
