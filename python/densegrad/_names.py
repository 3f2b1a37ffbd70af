"""Names that the field also uses for our activations, losses, optimizers and schedules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: In lower case, without hyphens, underscores and spaces.
_OTHER_NAMES: Final = {
    # activations
    "sigmoid": "logistic",
    "expit": "logistic",
    "linear": "identity",
    "none": "identity",
    "swish": "silu",
    "lrelu": "leaky_relu",
    "hyperbolictangent": "tanh",
    "exponential": "exp",
    # losses
    "mse": "squared_error",
    "meansquarederror": "squared_error",
    "l2": "squared_error",
    "mae": "absolute_error",
    "meanabsoluteerror": "absolute_error",
    "l1": "absolute_error",
    "smoothl1": "huber",
    "pinball": "quantile",
    "crossentropy": "log_loss",
    "categoricalcrossentropy": "log_loss",
    "sparsecategoricalcrossentropy": "log_loss",
    "binarycrossentropy": "log_loss",
    "bce": "log_loss",
    "nll": "log_loss",
    "negativeloglikelihood": "log_loss",
    "deviance": "log_loss",
    "gaussian": "gaussian_nll",
    # schedules
    "cosineannealing": "cosine",
    "steplr": "step",
    "exponentialdecay": "step",
    "reducelronplateau": "plateau",
    "1cycle": "one_cycle",
    "warmup": "warm_up",
    # optimizers
    "momentum": "sgd",
    "nesterov": "sgd",
    "bfgs": "lbfgs",
}


def suggestion(value: str, allowed: Iterable[str]) -> str | None:
    """Return the name in `allowed` that `value` may stand for; None if there is none."""
    by_plain = {_plain(name): name for name in allowed}
    plain = _plain(value)
    if plain in by_plain:
        return by_plain[plain]
    other = _OTHER_NAMES.get(plain)
    if other is not None and _plain(other) in by_plain:
        return by_plain[_plain(other)]
    from difflib import get_close_matches  # only an error needs it

    close = get_close_matches(plain, by_plain, n=1, cutoff=0.7)
    return by_plain[close[0]] if close else None


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")
