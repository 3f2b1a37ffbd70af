"""A network as a small picture with a line of text, for a notebook's cell."""

from __future__ import annotations

from html import escape

from densegrad import Network
from densegrad.display._svg import Outline, network_svg

_MOST_COLUMNS = 9


def network_html(network: Network) -> str:
    """Return HTML that shows layers, shapes, parameters, activations and loss of a network.

    Parameters
    ----------
    network : Network

    Returns
    -------
    str
        A `div` without scripts or styles of its own, in the colour of the text around it.

    Examples
    --------
    >>> from densegrad import Dense, Network
    >>> from densegrad.display import network_html
    >>> net = Network(
    ...     784, [Dense(128, "relu"), Dense(10, "softmax")], loss="log_loss", random_state=0
    ... )
    >>> "101,770 parameters" in network_html(net)
    True
    """
    outline = Outline(
        (network.n_inputs, *(layer.units for layer in network.layers)),
        [layer.activation_name for layer in network.layers],
        network.loss,
    )
    dropout = [
        f"{layer.dropout:g} after layer {l}" for l, layer in enumerate(network.layers, 1) if layer.dropout
    ]
    words = [
        f"{type(network).__name__}: {network.n_parameters:,} parameters",
        f"{network.dtype.name}",
        f"loss {network.loss}",
        *([f"dropout {', '.join(dropout)}"] if dropout else []),
    ]
    picture = network_svg(outline, backward=False, most_columns=_MOST_COLUMNS)
    return (
        '<div style="overflow-x:auto;color:inherit">'
        f'{picture}<div style="font-size:0.9em">{escape("; ".join(words))}</div></div>'
    )
