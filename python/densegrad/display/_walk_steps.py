"""The steps of the walk through both passes, each a heading and a piece of HTML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad import Backpropagation
from densegrad.display._formulas import chain, formula, forward_formulas, loss_formula, spoken_chain
from densegrad.display._html import Table, gradient, quotient, symbol
from densegrad.display._numbers import norm, shape_text, short
from densegrad.display._passes import Passes


@dataclass(frozen=True)
class Step:
    """One step of the walk: its heading, which parts of the picture it is about, and its HTML."""

    heading: str
    parts: str
    kind: str
    body: str


class Walk:
    """Writes the steps.

    Parameters
    ----------
    passes : Passes
    p : Backpropagation
        That of `passes`.
    samples : list of int
    class_names, feature_names : sequence of str or None
    most : int
        Rows and columns of a table.
    """

    def __init__(
        self,
        passes: Passes,
        p: Backpropagation,
        samples: list[int],
        class_names: Sequence[str] | None,
        feature_names: Sequence[str] | None,
        most: int,
    ) -> None:
        self.passes, self.p, self.samples, self.most = passes, p, samples, most
        self.class_names, self.feature_names = class_names, feature_names

    def steps(self) -> list[Step]:
        """Return all steps in the order of the walk."""
        L = self.passes.depth
        return [
            self._overview(),
            self._input(),
            *(self._forward(l) for l in range(1, L + 1)),
            self._loss(),
            self._backward_loss(),
            *(self._backward(l) for l in range(L, 0, -1)),
            self._descent(),
        ]

    def _number_of_forward(self, l: int) -> int:
        """Return the number of the step that is the forward pass of a layer, from 0."""
        return 1 + l

    # --- tables ---

    def _unit_names(self, l: int) -> Sequence[str] | None:
        if l == 0:
            return self.feature_names
        if l == self.passes.depth and self.passes.widths[l] > 1:
            return self.class_names
        return None

    def _table(
        self, name: str, values: NDArray[Any], quantity: str, l: int | None = None, **options: Any
    ) -> str:
        """Return a table whose columns are the units of layer l."""
        columns = None if l is None else self._unit_names(l)
        return Table(name, values, quantity=quantity, column_names=columns, most=self.most, **options).html()

    def _matrix(self, name: str, l: int, values: NDArray[Any], quantity: str, remark: str = "") -> str:
        """Return a table of the shape of W_(l), the bias its last row; an elementwise layer has one row."""
        dense = not self.passes.is_elementwise(l)
        row_names = self._unit_names(l - 1) if dense else None
        return self._table(name, values, quantity, l, row_names=row_names, bias=dense, remark=remark)

    def _views(self, one: Callable[[int], list[str]], batch: list[str]) -> str:
        """Return the views of each sample and of the whole batch; one of them is seen at a time."""
        parts = [
            f'<div class="view" data-view="{s}"><p class="note">sample {s}</p>'
            f'<div class="tables">{"".join(one(s))}</div></div>'
            for s in self.samples
        ]
        parts.append(
            '<div class="view" data-view="batch"><p class="note">whole batch, one row a sample</p>'
            f'<div class="tables">{"".join(batch)}</div></div>'
        )
        return "".join(parts)

    def _per_unit(
        self, letter: str, l: int, per_layer: Any, quantity: str
    ) -> tuple[Callable[[int], str], str]:
        """Return the table of a sample's row of a quantity, and that of the batch."""
        values = per_layer[l]
        name = symbol(letter, l)
        return (
            lambda s: self._table(name, values[s], f"{quantity} {l} {s}", l),
            self._table(name, values, f"{quantity} {l} batch", l),
        )

    # --- steps ---

    def _overview(self) -> Step:
        passes = self.passes
        L = passes.depth
        rows = [
            f'<tr><td class="number">0</td><td>input</td><td class="number">{passes.widths[0]}</td>'
            "<td></td><td></td></tr>"
        ]
        rows += [
            f'<tr><td class="number">{l}</td><td>{"head" if l == L else "hidden"}</td>'
            f'<td class="number">{passes.widths[l]}</td><td>{escape(passes.activations[l - 1])}</td>'
            f"<td>{shape_text(passes.weight(l).shape)}</td></tr>"
            for l in range(1, L + 1)
        ]
        rows.append(
            f'<tr><td class="number">{L + 1}</td><td>loss layer</td><td class="number">1</td>'
            f"<td>{escape(passes.loss_name)}</td><td></td></tr>"
        )
        count = sum(passes.weight(l).size for l in range(1, L + 1))
        body = (
            f"<p>A batch of {passes.batch} sample{'s' * (passes.batch != 1)} goes through the layers to the"
            f" loss, {symbol('y', L + 1)} = {short(self.p.loss, 6)}. Then its derivative goes back,"
            " layer by layer, and leaves at each the derivative by its weights.</p>"
            '<table class="overview"><tr><th scope="col"><i>l</i></th><th scope="col">layer</th>'
            '<th scope="col">units</th><th scope="col">activation or loss</th>'
            f'<th scope="col">shape of <i>W</i><sub>(<i>l</i>)</sub></th></tr>{"".join(rows)}</table>'
            f'<p class="note">{count:,} weights. The last row of each weight matrix is the bias. Units and'
            " samples are numbered from 0. A number's title, under the pointer, has all its digits.</p>"
        )
        return Step("The network", "all", "", body)

    def _input(self) -> Step:
        one, batch = self._per_unit("y", 0, self.p.outputs, "y")
        body = formula(f"{symbol('y', 0)} = <i>x</i>", "y 0 equals x") + self._views(
            lambda s: [one(s)], [batch]
        )
        return Step("Forward pass: the input", "layer-0 forward-0", "forward", body)

    def _forward(self, l: int) -> Step:
        passes, p = self.passes, self.p
        n_in, n = passes.widths[l - 1], passes.widths[l]
        y_in, y_in_batch = self._per_unit("y", l - 1, p.outputs, "y")
        y_out, y_out_batch = self._per_unit("y", l, p.outputs, "y")
        slopes = p.local_gradients[l].wrt_preactivation
        by_z = quotient("y", "z", l, l)
        by_y = quotient("y", "y", l, l - 1)
        by_W = quotient("y", "W", l, l)
        z_batch = np.stack([passes.preactivation(l, s) for s in range(min(passes.batch, self.most))])
        activation = escape(passes.activations[l - 1])
        text, spoken = forward_formulas(passes.kinds[l - 1], activation, l)

        def local(s: int) -> list[str]:
            tables = [
                self._table(by_z, slopes[s], f"dy/dz {l} {s}", l),
                self._table(
                    by_y,
                    passes.jacobian(l, s),
                    f"dy/dy {l} {s}",
                    l - 1,
                    row_names=self._unit_names(l),
                ),
            ]
            if slopes.ndim == 2:
                by_own_weights = (
                    (p.local_gradients[l].by_weight[s] * slopes[s])[np.newaxis]
                    if passes.is_elementwise(l)
                    else np.multiply.outer(np.append(p.outputs[l - 1][s], 1), slopes[s])
                )
                tables.append(
                    self._matrix(
                        by_W,
                        l,
                        by_own_weights.astype(slopes.dtype),
                        f"dy/dW {l} {s}",
                        "; of unit <i>k</i> by column <i>k</i>, all others are 0",
                    )
                )
            return tables

        body = (
            formula(text, spoken)
            + "<h3>In</h3>"
            + self._views(lambda s: [y_in(s)], [y_in_batch])
            + f'<div class="tables">{self._matrix(symbol("W", l), l, passes.weight(l), f"W {l}")}</div>'
            + "<h3>Out</h3>"
            + self._views(
                lambda s: [
                    self._table(symbol("z", l), passes.preactivation(l, s), f"z {l} {s}", l),
                    y_out(s),
                ],
                [
                    self._table(symbol("z", l), z_batch, f"z {l} batch", l)
                    + (_first_rows(len(z_batch), passes.batch)),
                    y_out_batch,
                ],
            )
            + f'<div class="cached"><h3>Cached in layer {l} for the backward pass</h3>'
            + f'<p class="note">Kept are {symbol("y", l - 1)} and {by_z}; with {symbol("W", l)} the other'
            + f" local gradients follow from them, {by_y} of shape {shape_text((n, n_in))} and {by_W} of"
            + f" shape {shape_text((n, *passes.weight(l).shape))} for each sample.</p>"
            + self._views(
                local,
                [
                    self._table(by_z, slopes, f"dy/dz {l} batch", l)
                    if slopes.ndim == 2
                    else f'<p class="note">{by_z} is a matrix for each sample: choose one.</p>'
                ],
            )
            + "</div>"
        )
        parts = f"layer-{l} layer-{l - 1} forward-{l - 1} weights-{l} forward-{l}"
        return Step(f"Forward pass: layer {l}", parts, "forward", body)

    def _target(self, s: int) -> str:
        passes = self.passes
        if passes.target is None:
            return ""
        text = passes.target_text(s, self.most)
        names, target = self.class_names, passes.target
        if names and target.ndim == 1 and target.dtype.kind in "iub" and int(target[s]) < len(names):
            text += f" ({names[int(target[s])]})"
        return f'<p data-quantity="target {s}">target: {escape(text)}</p>'

    def _loss(self) -> Step:
        passes, p = self.passes, self.p
        L = passes.depth
        y, y_batch = self._per_unit("y", L, p.outputs, "y")
        local, local_batch = self._local_of_loss()
        total = f"<span data-quantity='loss' title='{p.loss!r}'>{short(p.loss, 6)}</span>"
        losses = p.sample_losses
        even = bool(np.isclose(losses.mean(), p.loss, rtol=1e-5, atol=1e-12))
        mean = f"1/{passes.batch} · Σ<sub>s</sub> loss<sub>s</sub>"
        weighted = "Σ<sub>s</sub> w<sub>s</sub> · loss<sub>s</sub> / Σ<sub>s</sub> w<sub>s</sub>"
        row, spoken_row = loss_formula(passes.loss_name, passes.activations[-1], L)
        spoken_mean = "mean" if even else "weighted mean"
        body = (
            formula(
                f"loss<sub>s</sub> = {row}; {symbol('y', L + 1)} = {mean if even else weighted} = {total}",
                f"the loss of a sample is {spoken_row}; y {L + 1} is the {spoken_mean} of the losses of the"
                f" {passes.batch} samples, {short(p.loss, 6)}",
            )
            + f"<p>The loss is {escape(passes.loss_name)}. Each sample s has its own, and the loss layer"
            + f" gives their {spoken_mean} over the batch of {passes.batch}.</p>"
            + "<h3>In</h3>"
            + self._views(lambda s: [y(s), self._target(s)], [y_batch])
            + "<h3>Out</h3>"
            + self._views(
                lambda s: [self._table(f"loss of sample {s}", losses[s : s + 1], f"loss {L + 1} {s}")],
                [self._table("loss of each sample", losses, f"loss {L + 1} batch")],
            )
            + f'<div class="cached"><h3>Cached in the loss layer, {L + 1}</h3>'
            + self._views(lambda s: [local(s)], [local_batch])
            + "</div>"
        )
        return Step(
            "Forward pass: the loss layer",
            f"layer-{L + 1} forward-{L} target forward-{L + 1}",
            "forward",
            body,
        )

    def _local_of_loss(self) -> tuple[Callable[[int], str], str]:
        """Return ∂y_(L+1)/∂y_(L): L'_(L) itself, since L'_(L+1) is 1."""
        L = self.passes.depth
        name = quotient("y", "y", L + 1, L)
        values = self.p.loss_gradients[L]
        return (
            lambda s: self._table(name, values[s], f"dy/dy {L + 1} {s}", L),
            self._table(name, values, f"dy/dy {L + 1} batch", L),
        )

    def _backward_loss(self) -> Step:
        L = self.passes.depth
        out, out_batch = self._per_unit("L'", L, self.p.loss_gradients, "L'")
        local, local_batch = self._local_of_loss()
        body = (
            formula(
                f"{gradient(L + 1)} = 1; {chain(L + 1)}",
                f"L prime {L + 1} equals 1; {spoken_chain(L + 1)}",
            )
            + "<h3>In</h3>"
            + f"<p>{gradient(L + 1)} = dLoss/dLoss = 1, and from the cache, filled in"
            + f" {self._link(L + 1)}:</p>"
            + self._views(lambda s: [local(s)], [local_batch])
            + "<h3>Out</h3>"
            + self._views(lambda s: [out(s)], [out_batch])
            + f'<p class="note">The loss is a mean: each sample has its share in it, so the rows of'
            f" {gradient(L)} are that much smaller.</p>"
        )
        return Step(
            "Backward pass: the loss layer", f"layer-{L + 1} backward-{L + 1} backward-{L}", "backward", body
        )

    def _backward(self, l: int) -> Step:
        passes, p = self.passes, self.p
        L1, L0 = gradient(l), gradient(l - 1)
        came, came_batch = self._per_unit("L'", l, p.loss_gradients, "L'")
        goes, goes_batch = self._per_unit("L'", l - 1, p.loss_gradients, "L'")
        delta_name = f"∂Loss/∂{symbol('z', l)}, the delta {symbol('δ', l)}"
        by_y, by_W = quotient("y", "y", l, l - 1), quotient("y", "W", l, l)
        goal = f"goes on to layer {l - 1}" if l > 1 else "says how the loss changes with the input itself"
        body = (
            formula(
                f"{chain(l)}; {symbol('dW', l)} = {L1} · {by_W}",
                f"{spoken_chain(l)}; d Loss by d W {l} equals L prime {l} times d y {l} by d W {l}",
            )
            + "<h3>In</h3>"
            + self._views(lambda s: [came(s)], [came_batch])
            + f"<p>From the cache, filled in {self._link(l)}: {by_y} and {by_W}.</p>"
            + self._views(
                lambda s: [
                    self._table(
                        by_y, passes.jacobian(l, s), f"dy/dy {l} {s}", l - 1, row_names=self._unit_names(l)
                    )
                ],
                [],
            )
            + "<h3>Between</h3>"
            + self._views(
                lambda s: [self._table(delta_name, p.deltas[l][s], f"delta {l} {s}", l)],
                [self._table(delta_name, p.deltas[l], f"delta {l} batch", l)],
            )
            + "<h3>Out</h3>"
            + self._views(
                lambda s: [
                    goes(s),
                    self._matrix(
                        f"share of this sample in {symbol('dW', l)}",
                        l,
                        passes.sample_weight_gradient(l, s),
                        f"dW {l} {s}",
                    ),
                ],
                [goes_batch],
            )
            + '<div class="tables">'
            + self._matrix(symbol("dW", l), l, p.weight_gradients[l], f"dW {l}", "; the sum over the batch")
            + f'</div><p class="note">{L0} {goal}.</p>'
        )
        parts = f"layer-{l} layer-{l - 1} backward-{l} backward-{l - 1} weights-{l}"
        return Step(f"Backward pass: layer {l}", parts, "backward", body)

    def _descent(self) -> Step:
        passes, p = self.passes, self.p
        rows = []
        for l in range(1, passes.depth + 1):
            sizes = (passes.weight(l), p.weight_gradients[l], p.loss_gradients[l], p.outputs[l])
            cells = "".join(f'<td class="number" title="{norm(a)!r}">{short(norm(a))}</td>' for a in sizes)
            rows.append(f'<tr><th scope="row">{l}</th>{cells}</tr>')
        heads = (
            symbol("W", "<i>l</i>"),
            symbol("dW", "<i>l</i>"),
            gradient("<i>l</i>"),
            symbol("y", "<i>l</i>"),
        )
        body = (
            formula(
                f"{symbol('W', '<i>l</i>')} ← {symbol('W', '<i>l</i>')} − α · {symbol('dW', '<i>l</i>')}",
                "W l becomes W l minus alpha times d Loss by d W l",
            )
            + "<p>Gradient descent takes a small step, α, against the derivative at every layer. Norms:</p>"
            + '<table class="norms"><tr><th scope="col"><i>l</i></th>'
            + "".join(f'<th scope="col">{head}</th>' for head in heads)
            + f"</tr>{''.join(rows)}</table>"
        )
        weights = " ".join(f"weights-{l} layer-{l}" for l in range(1, passes.depth + 1))
        return Step("What the gradients are for", weights, "backward", body)

    def _link(self, l: int) -> str:
        number = self._number_of_forward(l)
        name = (
            "the forward pass of the loss layer"
            if l > self.passes.depth
            else f"the forward pass of layer {l}"
        )
        return f'<a href="#step-{number + 1}" data-step="{number}">{name}</a>'


def _first_rows(shown: int, batch: int) -> str:
    return f'<p class="note">the first {shown} of {batch} samples</p>' if shown < batch else ""
