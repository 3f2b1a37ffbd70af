"""Forward and backward pass in detail at one layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from densegrad.display._canvas import Canvas
from densegrad.display._numbers import matrix_lines, norm, shape_text, short
from densegrad.display._passes import Passes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 12.6, 7.6
MOST = 4  # rows and columns of numbers that are written out


class Detail:
    """Layer l with its inputs and outputs in both passes, and its cache between them.

    Parameters
    ----------
    passes : Passes
        With a pass.
    layer : int
        1 … L, or L + 1 for the loss layer.
    sample : int
        The sample whose numbers are written out if the layer is small.
    """

    width, height = WIDTH, HEIGHT

    def __init__(self, passes: Passes, layer: int, sample: int) -> None:
        assert passes.p is not None
        self.passes, self.p, self.l, self.sample = passes, passes.p, layer, sample

    def draw(self, ax: Axes) -> None:
        """Draw on `ax`, which is emptied of its frame."""
        self.canvas = Canvas(ax, WIDTH, HEIGHT)
        if self.l > self.passes.depth:
            self._loss_layer()
        else:
            self._layer()

    def _numbers(
        self,
        x: float,
        y: float,
        what: NDArray[Any],
        shape: tuple[int, ...],
        name: str,
        size: float = 9.5,
        **options: Any,
    ) -> None:
        """Write a small array in full; of a large one, write shape and norm."""
        c = self.canvas
        matrix = what.reshape(len(what), -1)  # vectors stand upright
        options = {"va": "top", "family": "monospace", "linespacing": 1.25, **options}
        if matrix.shape[0] <= MOST + 1 and matrix.shape[1] <= MOST:
            c.text(x, y, "\n".join(matrix_lines(matrix)), size, name, **options)
        else:
            options["family"] = None
            lines = [] if "numbers" in name else [shape_text(shape)]
            c.text(x, y, "\n".join([*lines, f"norm {short(norm(what))}"]), size, name, **options)

    def _title(self, text: str) -> None:
        self.canvas.text(WIDTH / 2, HEIGHT - 0.25, text, 12, "title")
        self.canvas.text(
            WIDTH / 2,
            0.12,
            f"numbers of sample {self.sample} of {self.passes.batch}; "
            "weight gradients are sums over the batch",
            8,
            "caption",
            color=self.canvas.colours.faint,
        )

    def _layer(self) -> None:
        c, p, l, s = self.canvas, self.p, self.l, self.sample
        passes = self.passes
        n_in, n_out = passes.widths[l - 1], passes.widths[l]
        forward, backward, green = c.colours.forward, c.colours.backward, c.colours.weights
        above, below = 6.05, 3.2  # heights of the two passes
        left, right = 3.2, 9.4  # edges of the layer
        self._title(
            rf"Layer $l = {l}$ in detail:  forward pass above, backward pass below, local gradients between"
        )
        c.box((left + right) / 2, 4.6, right - left, 4.2, c.colours.ink, f"layer {l}")
        # Forward, from the left to the right.
        c.box(4.55, above, 1.9, 0.85, c.colours.faint, f"f_({l})")
        c.text(
            4.55,
            above + 0.17,
            f"$z_{{({l})}}$ from" if passes.is_elementwise(l) else f"$z_{{({l})}} =$",
            11,
            zorder=5,
        )
        inputs = rf"$y_{{({l - 1})}},\ W_{{({l})}}$"
        if not passes.is_elementwise(l):
            inputs = rf"$[\,y_{{({l - 1})}}, 1\,] \cdot W_{{({l})}}$"
        c.text(4.55, above - 0.17, inputs, 11, zorder=5)
        c.box(8.05, above, 1.9, 0.85, c.colours.faint, f"a_({l})")
        c.text(8.05, above + 0.17, rf"$a_{{({l})}}(z_{{({l})}})$", 11, zorder=5)
        c.text(8.05, above - 0.18, passes.activations[l - 1], 10, f"activation {l}", zorder=5)
        c.arrow((0.5, above), (3.58, above), forward, 2.4, f"y_({l - 1}) arrow")
        c.arrow((5.5, above), (7.08, above), forward, 2.4, f"z_({l}) arrow")
        c.arrow((9.02, above), (12.1, above), forward, 2.4, f"y_({l}) arrow")
        c.text(1.75, above + 0.24, f"$y_{{({l - 1})}}$", 13, f"y_({l - 1})", color=forward)
        c.text(6.28, above + 0.24, f"$z_{{({l})}}$", 13, f"z_({l})", color=forward)
        c.text(10.75, above + 0.24, f"$y_{{({l})}}$", 13, f"y_({l})", color=forward)
        self._numbers(1.75, above - 0.18, p.outputs[l - 1][s], (n_in,), "y in")
        self._numbers(6.28, above - 0.18, passes.preactivation(l, s), (n_out,), "z")
        self._numbers(10.75, above - 0.18, p.outputs[l][s], (n_out,), "y out")
        # The cache.
        middle = 4.82
        local = p.local_gradients[l]
        c.text(left + 0.16, middle, "cached:", 9, "cached", ha="left", color=c.colours.faint, zorder=5)
        jacobian = rf"$\partial y_{{({l})}} / \partial y_{{({l - 1})}}$"
        by_weights = rf"$\partial y_{{({l})}} / \partial W_{{({l})}}$"
        by_z = rf"$\partial y_{{({l})}} / \partial z_{{({l})}}$"
        for x, label, name in (
            (4.75, jacobian, "dy/dy"),
            (6.45, by_weights, "dy/dW"),
            (8.1, by_z, "dy/dz"),
        ):
            c.text(x, middle + 0.1, label, 11, name, zorder=5)
        shapes = ((n_out, n_in), (n_out, *passes.weight(l).shape), local.wrt_preactivation.shape[1:])
        for x, shape, name in zip((4.75, 6.45, 8.1), shapes, ("dy/dy", "dy/dW", "dy/dz"), strict=True):
            c.text(
                x,
                middle - 0.17,
                shape_text(shape),
                8.5,
                f"{name} shape",
                zorder=5,
                color=c.colours.faint,
            )
        self._numbers(4.75, middle - 0.32, passes.jacobian(l, s), (n_out, n_in), "dy/dy numbers", 8)
        self._numbers(8.1, middle - 0.32, local.wrt_preactivation[s], shapes[2], "dy/dz numbers", 8)
        # Backward, from the right to the left.
        c.box(6.3, below, 5.3, 0.75, c.colours.faint, f"backward {l}")
        c.text(
            6.3,
            below,
            rf"$L'_{{({l - 1})}} = L'_{{({l})}} \cdot \partial y_{{({l})}} / \partial y_{{({l - 1})}}$",
            12,
            "chain rule",
            zorder=5,
        )
        c.text(
            6.3,
            below - 0.54,
            rf"the delta:  $\delta_{{({l})}} = \partial\mathrm{{Loss}} / \partial z_{{({l})}} = "
            rf"L'_{{({l})}} \cdot \partial y_{{({l})}} / \partial z_{{({l})}}$",
            9.5,
            f"delta {l}",
            zorder=5,
        )
        c.arrow((12.1, below), (8.97, below), backward, 2.4, f"L'_({l}) arrow")
        c.arrow((3.63, below), (0.5, below), backward, 2.4, f"L'_({l - 1}) arrow")
        c.text(10.75, below + 0.24, f"$L'_{{({l})}}$", 13, f"L'_({l})", color=backward)
        c.text(1.75, below + 0.24, f"$L'_{{({l - 1})}}$", 13, f"L'_({l - 1})", color=backward)
        self._numbers(10.75, below - 0.18, p.loss_gradients[l][s], (n_out,), "L' in")
        self._numbers(1.75, below - 0.18, p.loss_gradients[l - 1][s], (n_in,), "L' out")
        # The weights.
        y = 1.25
        c.box(4.55, y + 0.45, 1.0, 0.46, green, f"W_({l})")
        c.text(4.55, y + 0.45, f"$W_{{({l})}}$", 12, f"W_({l}) name", zorder=5)
        c.arrow((4.55, y + 0.69), (4.55, 2.49), green, 2.0, f"W_({l}) arrow")
        self._numbers(4.55, y + 0.14, passes.weight(l), passes.weight(l).shape, "W")
        c.arrow((8.05, 2.49), (8.05, y + 0.69), backward, 2.4, f"dLoss/dW_({l}) arrow")
        c.text(
            8.05,
            y + 0.45,
            rf"$\partial\mathrm{{Loss}} / \partial W_{{({l})}} = L'_{{({l})}} \cdot "
            rf"\partial y_{{({l})}} / \partial W_{{({l})}}$",
            12,
            f"dLoss/dW_({l})",
            color=backward,
        )
        self._numbers(8.05, y + 0.14, p.weight_gradients[l], passes.weight(l).shape, "dW")

    def _loss_layer(self) -> None:
        c, p, l, s = self.canvas, self.p, self.l, self.sample
        passes = self.passes
        n_in = passes.widths[l - 1]
        forward, backward = c.colours.forward, c.colours.backward
        above, below = 5.0, 3.0
        self._title(rf"The loss layer $l = L + 1 = {l}$ in detail:  forward pass above, backward pass below")
        c.box(6.3, 4.0, 5.3, 3.5, c.colours.ink, f"layer {l}", 2.0)
        c.text(
            6.3,
            above + 0.1,
            rf"$y_{{({l})}} = \mathrm{{loss}}(\,y_{{({l - 1})}}, \mathrm{{target}}\,)$",
            13,
            zorder=5,
        )
        c.text(6.3, above - 0.22, passes.loss_name, 10, "loss name", zorder=5, color=c.colours.faint)
        c.text(
            6.3, 4.0, rf"cached:  $\partial y_{{({l})}} / \partial y_{{({l - 1})}}$", 11, "cached", zorder=5
        )
        c.text(
            6.3,
            below,
            rf"$L'_{{({l - 1})}} = L'_{{({l})}} \cdot \partial y_{{({l})}} / \partial y_{{({l - 1})}}$",
            13,
            "chain rule",
            zorder=5,
        )
        c.arrow((0.5, above), (3.63, above), forward, 2.4, f"y_({l - 1}) arrow")
        c.arrow((8.97, above), (12.1, above), forward, 2.4, f"y_({l}) arrow")
        c.arrow((12.1, below), (8.97, below), backward, 2.4, f"L'_({l}) arrow")
        c.arrow((3.63, below), (0.5, below), backward, 2.4, f"L'_({l - 1}) arrow")
        c.text(1.9, above + 0.24, f"$y_{{({l - 1})}}$", 13, f"y_({l - 1})", color=forward)
        c.text(10.6, above + 0.24, f"$y_{{({l})}}$", 13, f"y_({l})", color=forward)
        c.text(10.6, above - 0.26, f"{short(p.loss, 4)}", 10, "loss value")
        c.text(10.6, below + 0.24, f"$L'_{{({l})}} = 1$", 13, f"L'_({l})", color=backward)
        c.text(1.9, below + 0.24, f"$L'_{{({l - 1})}}$", 13, f"L'_({l - 1})", color=backward)
        self._numbers(1.9, above - 0.18, p.outputs[l - 1][s], (n_in,), "y in")
        self._numbers(1.9, below - 0.18, p.loss_gradients[l - 1][s], (n_in,), "L' out")
        c.text(6.3, 1.25, "target", 12, "target")
        c.text(6.3, 0.95, passes.target_text(s), 9, "target value", color=c.colours.faint)
        c.arrow((6.3, 1.45), (6.3, 2.23), c.colours.ink, 1.6, "target arrow")
