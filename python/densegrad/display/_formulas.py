"""The formulas of the walk through both passes, and the words of them."""

from __future__ import annotations

from html import escape

from densegrad.display._html import gradient, quotient, symbol


def forward_formulas(kind: str, activation: str, l: int) -> tuple[str, str]:
    """Return the formulas of a layer's forward pass, and the words of them."""
    x, W, z, y = symbol("y", l - 1), symbol("W", l), symbol("z", l), symbol("y", l)
    if kind == "dense":
        return (
            f"{z} = [ {x} , 1 ] · {W}; {y} = {activation}( {z} )",
            f"z {l} equals y {l - 1} with a 1 appended, times W {l}; y {l} equals {activation} of z {l}",
        )
    if kind == "scale":
        return (
            f"{z} = {W} ∘ {x}; {y} = {z}",
            f"z {l} equals W {l} times y {l - 1}, unit by unit; y {l} equals z {l}",
        )
    name = activation.removeprefix("blend ")
    return (
        f"{z} = {x} + {W} ∘ ( {name}( {x} ) − {x} ); {y} = {z}",
        f"z {l} equals y {l - 1} plus W {l} times the difference of {name} of y {l - 1} and y {l - 1},"
        f" unit by unit; y {l} equals z {l}",
    )


def loss_formula(loss: str, head: str, L: int) -> tuple[str, str]:
    """Return the formula of the loss of one sample, and the words of it."""
    y = symbol("y", L)
    if loss == "squared_error":
        return f"½ Σ ( {y} − target )²", f"half the sum of squares of y {L} minus the target"
    if loss == "absolute_error":
        return f"Σ | {y} − target |", f"the sum of the sizes of y {L} minus the target"
    if loss == "log_loss" and head == "softmax":
        return f"− Σ target · log {y}", f"minus the sum of the target times the logarithm of y {L}"
    if loss == "log_loss":
        return (
            f"− Σ [ target · log {y} + (1 − target) · log(1 − {y}) ]",
            f"minus the sum of the target times the logarithm of y {L}, and 1 minus the target times that of"
            f" 1 minus y {L}",
        )
    return f"{escape(loss)}( {y} , target )", f"{escape(loss)} of y {L} and the target"


def chain(l: int) -> str:
    """Return the chain rule of layer l."""
    return f"{gradient(l - 1)} = {gradient(l)} · {quotient('y', 'y', l, l - 1)}"


def spoken_chain(l: int) -> str:
    """Return the words of it."""
    return f"L prime {l - 1} equals L prime {l} times d y {l} by d y {l - 1}"


def formula(html: str, spoken: str) -> str:
    """Return formulas, separated by a semicolon, with the words of them for those who listen."""
    parts = "".join(f'<span class="whole">{part}</span>' for part in html.split("; "))
    return (
        f'<p class="formula"><span aria-hidden="true">{parts}</span><span class="hidden">{spoken}</span></p>'
    )
