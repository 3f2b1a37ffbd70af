"""Pieces of HTML: escaped text, symbols of the notation, tables of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad.display._numbers import norm, shape_text, short


def symbol(letter: str, l: int | str) -> str:
    """Return a letter with the layer's number, y_(1); "L'" and "dW" stand for L'_(l) and dLoss/dW_(l)."""
    if letter == "dW":
        return f"∂Loss/∂<i>W</i><sub>({l})</sub>"
    prime = "′" if letter.endswith("'") else ""
    return f"<i>{letter.rstrip(chr(39))}</i>{prime}<sub>({l})</sub>"


def gradient(l: int | str) -> str:
    """Return L'_(l)."""
    return symbol("L'", l)


def quotient(above: str, below: str, l: int, k: int) -> str:
    """Return a local gradient, ∂y_(l)/∂y_(k)."""
    return f"∂{symbol(above, l)}/∂{symbol(below, k)}"


def shown(n: int, most: int) -> list[int | None]:
    """Return the numbers 0 … n - 1 to show, with None if some are left out; the last is always shown."""
    if n <= most:
        return list(range(n))
    return [*range(most - 1), None, n - 1]


def cell(value: Any) -> str:
    """Return a table's cell: the number in short, the whole of it as its title."""
    return f'<td title="{value}">{short(float(value))}</td>'


class Table:
    """A matrix of numbers, cut to a readable size.

    Parameters
    ----------
    name : str
        HTML; the caption.
    values : ndarray
        Vectors are one row.
    row_names, column_names : sequence of str or None
        Escaped here; None stands for numbers from 0.
    remark : str, default ""
        HTML; stands behind the shape.
    bias : bool, default False
        Whether the last row is that of the bias.
    most : int, default 8
        Rows and columns shown.
    quantity : str, default ""
        The name of the quantity, for scripts and tests.
    """

    def __init__(
        self,
        name: str,
        values: NDArray[Any],
        *,
        quantity: str = "",
        row_names: Sequence[str] | None = None,
        column_names: Sequence[str] | None = None,
        remark: str = "",
        bias: bool = False,
        most: int = 8,
    ) -> None:
        self.name, self.values, self.quantity = name, values, quantity
        self.matrix = np.atleast_2d(values)
        self.row_names, self.column_names = row_names, column_names
        self.remark, self.bias, self.most = remark, bias, most

    def html(self) -> str:
        """Return the table, with a note if numbers are left out."""
        matrix = self.matrix
        rows = shown(matrix.shape[0], self.most)
        columns = shown(matrix.shape[1], self.most)
        heads = "".join(
            "<th>⋯</th>" if j is None else f'<th scope="col">{self._column(j)}</th>' for j in columns
        )
        vector = self.values.ndim == 1
        corner = "" if vector else "<td></td>"
        lines = [f"<tr>{corner}{heads}</tr>"]
        for i in rows:
            if i is None:
                lines.append(f"<tr><th>⋮</th>{'<td>⋮</td>' * len(columns)}</tr>")
                continue
            cells = "".join("<td>⋯</td>" if j is None else cell(matrix[i, j]) for j in columns)
            head = "" if vector else f'<th scope="row">{self._row(i)}</th>'
            lines.append(f"<tr>{head}{cells}</tr>")
        return (
            f'<div class="table" data-quantity="{self.quantity}">'
            f"<table><caption>{self.name} <small>{shape_text(self.values.shape)}{self.remark}</small>"
            f"</caption>{''.join(lines)}</table>{self._rest()}</div>"
        )

    def _rest(self) -> str:
        rows, columns = self.matrix.shape
        if rows <= self.most and columns <= self.most:
            return ""
        count = min(rows, self.most) * min(columns, self.most)
        size = short(norm(self.matrix))
        return f'<p class="note">{count} of {rows * columns:,} numbers; norm of all {size}</p>'

    def _column(self, j: int) -> str:
        return escape(str(self.column_names[j])) if self.column_names else str(j)

    def _row(self, i: int) -> str:
        if self.bias and i == len(self.matrix) - 1:
            return "bias"
        return escape(str(self.row_names[i])) if self.row_names else str(i)
