"""The five pictures of back propagation, of your own network with its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from densegrad import Network
from densegrad.display._detail import Detail
from densegrad.display._drawing import figure_of, pyplot
from densegrad.display._graph import Graph
from densegrad.display._models import estimator_network, only_network
from densegrad.display._passes import Passes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = ("layers", "loss_layer", "forward", "backward", "detail")
_NEED_A_PASS = ("forward", "backward", "detail")


class NetworkDisplay:
    """A network's layers 0 … L + 1 with the values that flow between them.

    Parameters
    ----------
    passes : Passes
        The network with the numbers of a pass; made by `from_network` and `from_estimator`.
    kind : {"layers", "loss_layer", "forward", "backward", "detail"}, default "layers"
    layer : int or None
        The layer of "detail".
    sample : int, default 0
        The row whose numbers are written out.
    max_units : int, default 6
        Networks with wider layers are drawn as blocks, without their units.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from densegrad import Dense, Network
    >>> from densegrad.display import NetworkDisplay
    >>> net = Network(2, [Dense(3, "tanh"), Dense(1, "identity")], random_state=0)
    >>> display = NetworkDisplay.from_network(net, [[0.5, -1.0]], [[1.0]], kind="backward")
    >>> texts = {text.get_gid(): text.get_text() for text in display.axes_.texts}
    >>> texts["L'_(1)"], texts["|L'_(1)|"]
    ("$L'_{(1)}$", '1.28')
    """

    figure_: Figure
    axes_: Axes

    def __init__(
        self,
        passes: Passes,
        *,
        kind: str = "layers",
        layer: int | None = None,
        sample: int = 0,
        max_units: int = 6,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(map(repr, KINDS))}; got {kind!r}")
        if passes.p is None and kind in _NEED_A_PASS:
            raise ValueError(
                f"kind={kind!r} shows the numbers of a pass: give X and target;"
                " kind='layers' and kind='loss_layer' need none"
            )
        if layer is not None and kind != "detail":
            raise ValueError(f"layer is for kind='detail' alone; got layer={layer!r} with kind={kind!r}")
        self.layer: int | None = None
        if kind == "detail":
            last = passes.depth + 1
            if isinstance(layer, bool) or not isinstance(layer, int | np.integer) or not 1 <= layer <= last:
                raise ValueError(
                    f"layer must be 1 ... {last} for kind='detail', {last} is the loss layer; got {layer!r}"
                )
            self.layer = int(layer)
        if passes.p is not None and sample not in range(passes.batch):
            raise ValueError(f"sample must be a row of X, 0 ... {passes.batch - 1}; got {sample!r}")
        self.passes, self.kind, self.sample, self.max_units = passes, kind, int(sample), max_units

    @classmethod
    def from_network(
        cls,
        network: Network,
        X: Any = None,
        target: Any = None,
        *,
        sample_weight: Any = None,
        kind: str = "layers",
        layer: int | None = None,
        sample: int = 0,
        max_units: int = 6,
        ax: Axes | None = None,
    ) -> NetworkDisplay:
        """Draw, after both passes if X and target are given.

        Parameters
        ----------
        network : Network
        X, target, sample_weight
            As for `Network.backpropagate`; needed for "forward", "backward" and "detail".
        kind : {"layers", "loss_layer", "forward", "backward", "detail"}, default "layers"
            "layers": the layers and the names of their values. "loss_layer": the loss as layer L + 1.
            "forward": outputs from the input to the loss. "backward": gradients from the loss to the weights.
            "detail": both passes at one layer.
        layer : int or None
            The layer of "detail", 1 … L + 1.
        sample : int, default 0
            The row whose numbers are written out.
        max_units : int, default 6
            Networks with wider layers are drawn as blocks, without their units.
        ax : matplotlib Axes or None
            None makes a figure of the size that the picture needs.

        Returns
        -------
        NetworkDisplay

        Raises
        ------
        ValueError
            If kind, layer or sample is not as described, or if a pass is needed and X is not given.
        TypeError
            If network is no Network.
        """
        only_network(network)
        if (X is None) != (target is None):
            raise ValueError("X and target must be given together")
        # The pass may be long, so errors that do not need it come first.
        cls(Passes.of(network), kind=kind if X is None else "layers")
        p = None if X is None else network.backpropagate(X, target, sample_weight)
        display = cls(
            Passes.of(network, p, target), kind=kind, layer=layer, sample=sample, max_units=max_units
        )
        return display.plot(ax)

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any = None, y: Any = None, **options: Any) -> NetworkDisplay:
        """Draw the network of a fitted estimator.

        Parameters
        ----------
        estimator : MLPClassifier or MLPRegressor
        X, y
            As for its fit.
        **options
            Those of `from_network`.

        Returns
        -------
        NetworkDisplay
        """
        network, target = estimator_network(estimator, y, options)
        return cls.from_network(network, X, target, **options)

    def plot(self, ax: Axes | None = None) -> NetworkDisplay:
        """Draw the picture; its numbers have been computed.

        Parameters
        ----------
        ax : matplotlib Axes or None
            None makes a figure of the size that the picture needs.

        Returns
        -------
        NetworkDisplay
        """
        picture: Graph | Detail
        if self.layer is not None:
            picture = Detail(self.passes, self.layer, self.sample)
        else:
            picture = Graph(self.passes, self.kind, self.sample, self.max_units)
        if ax is None:
            figure = pyplot().figure(figsize=(picture.width, picture.height))
            ax = figure.add_axes((0, 0, 1, 1))
        picture.draw(ax)
        figure = figure_of(ax)
        self.figure_, self.axes_ = figure, ax
        return self
