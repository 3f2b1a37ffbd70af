"""The one list of networks that the tests, `make bench` and `make bench-peers` run over.

To add a network, add a line to `CASES`. Nothing here imports densegrad: the benchmarks also load this list in
the processes of other libraries.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

# (rows, n_0, n_1, ..., n_L)
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """A network, the number of its rows, and how long to train it.

    Parameters
    ----------
    name : str
        Short name, used by ``--cases``.
    rows, sizes, batch : int, tuple of int, int
        Rows of X, widths of the layers from the input to the head, rows of a mini-batch.
    epochs : int
        Epochs of one timed repeat, enough to learn: the losses are compared after them. 0: not timed.
    group : str
        ``"edge"`` is only tested. Those in ``MAIN`` are in the main tables of the benchmarks, ``"denormal"``
        and ``"width"`` have tables of their own.
    rows_of : str
        What the rows are: ``"clusters"`` without zeros, or rows with many zeros: ``"text"`` (sparse),
        ``"one_hot"``, ``"digits"``.
    """

    name: str
    rows: int
    sizes: tuple[int, ...]
    batch: int
    epochs: int
    group: str = "shape"
    rows_of: str = "clusters"

    @classmethod
    def edge(cls, rows: int, *sizes: int) -> Case:
        """A case for the tests alone: one batch at the edge of a line, a tile, a slice or a piece."""
        return cls("x".join(map(str, (rows, *sizes))), rows, sizes, rows, 0, "edge")

    @property
    def title(self) -> str:
        return f"{self.name} ({self.rows}; {format_sizes(self.sizes)}; {self.batch})"

    @property
    def is_sparse(self) -> bool:
        return self.rows_of == "text"

    @property
    def shape(self) -> Shape:
        """Rows of one batch, then the widths."""
        return (min(self.rows, self.batch), *self.sizes)

    @property
    def products(self) -> int:
        """Multiplications of one row in the forward pass."""
        return sum(n_in * n_out for n_in, n_out in itertools.pairwise(self.sizes))

    @property
    def flops_per_epoch(self) -> int:
        """Floating-point operations of the three products of back propagation over all rows.

        The first layer needs no input gradient. Activations, head and optimizer are not counted.
        """
        return self.rows * (6 * self.products - 2 * self.sizes[0] * self.sizes[1])


def format_sizes(sizes: tuple[int, ...]) -> str:
    """Widths joined by dashes; a run of three or more equal ones is written as ``8x24``."""
    parts: list[str] = []
    for size, run in itertools.groupby(sizes):
        length = len(list(run))
        parts += [f"{length}x{size}"] if length > 2 else [str(size)] * length
    return "-".join(parts)


# The edges lie around these numbers. A line holds 16 float32 or 8 float64. A tile of the products has up to 8
# rows with AVX2 and up to 24 with AVX-512. A slice of the batch has 256 rows, and a piece has 1024.
CASES: tuple[Case, ...] = (
    Case.edge(1, 1, 1),
    Case.edge(1, 20, 64, 2),
    Case.edge(2, 3, 1),
    Case.edge(3, 1, 7, 1),
    Case.edge(5, 7, 8, 9, 3),
    Case.edge(6, 8, 15, 2),
    Case.edge(7, 9, 16, 10),
    Case.edge(8, 15, 17, 1),
    Case.edge(9, 16, 31, 5),
    Case.edge(13, 17, 32, 33, 4),
    Case.edge(23, 31, 9, 1, 6),
    Case.edge(24, 33, 23, 2),
    Case.edge(25, 5, 24, 25, 3),
    Case.edge(33, 64, 63, 17),
    Case.edge(40, 129, 3),
    Case.edge(47, 3, 5, 5, 5, 5, 5, 5, 2),
    Case.edge(255, 6, 10, 3),
    Case.edge(256, 2, 16, 1),
    Case.edge(257, 10, 7, 16),
    Case.edge(301, 100, 10, 2),
    Case.edge(1025, 4, 9, 2),
    Case("tiny", 1000, (20, 64, 64, 2), 32, 10, "design"),
    Case("sk", 5000, (20, 100, 2), 200, 20, "design"),
    Case("mnist", 20_000, (784, 128, 10), 128, 3, "design"),
    Case("mid", 20_000, (64, 256, 256, 10), 256, 3, "design"),
    Case("wide", 8192, (512, 1024, 1024, 1024, 10), 256, 1, "design"),
    Case("cliff45", 10_000, (10, 45, 45, 10), 128, 15),
    Case("cliff46", 10_000, (10, 46, 46, 10), 128, 15),
    Case("control", 10_000, (4, 120, 84, 2), 128, 10),
    Case("fullbatch", 10_000, (4, 32, 16, 4), 10_000, 60),
    Case("online", 1000, (20, 32, 2), 1, 3),
    Case("narrow", 5000, (16, *(24,) * 8, 4), 100, 15),
    Case("odd", 5003, (37, 53, 29, 7), 61, 15),
    Case("w2500", 2048, (64, 2500, 2500, 10), 256, 2),
    Case("broad", 4096, (1000, 2500, 2500, 7), 512, 2),
    Case("text", 4000, (50_000, 100, 5), 200, 1, "zeros", "text"),
    Case("onehot", 10_000, (1000, 100, 3), 200, 3, "zeros", "one_hot"),
    Case("digits", 1797, (64, 100, 10), 200, 20, "zeros", "digits"),
    Case("alive", 8000, (128, 128, 64, 5), 4, 1, "denormal"),
    Case("dead", 8000, (128, 128, 64, 5), 4, 1, "denormal"),
    *(
        Case(f"width{n}", 4096, (64, n, n, 10), 256, max(2, 512 // n), "width")
        for n in (16, 32, 64, 128, 256, 512, 1024)
    ),
)

# The groups in the main tables of the benchmarks.
MAIN = ("design", "shape", "zeros")

# The benchmarks time TIMED. The tests run one batch of TESTED: the edges, and the
# networks of the benchmarks' main tables if a batch is cheap for the twin.
TIMED = tuple(case for case in CASES if case.epochs)
TESTED = tuple(
    case
    for case in CASES
    if case.group == "edge" or (case.group in ("design", "shape") and case.batch * case.products < 500_000)
)
SHAPES = [case.shape for case in TESTED]
SHAPE_NAMES = [case.name for case in TESTED]

QUICK = ("tiny", "sk", "odd")

# Prediction is measured on the network of this case, with these numbers of rows a call.
PREDICTION_CASE = TIMED[0]
PREDICTION_ROWS = (1, 100, 2000)

# Fitting tall data: the network and the numbers of rows.
TALL_SIZES = (100, 64, 2)
TALL_BATCH = 256
TALL_ROWS = (10_000, 100_000, 1_000_000)


def case_named(name: str) -> Case:
    """The timed case of that name; ValueError lists the known ones."""
    for case in TIMED:
        if case.name == name:
            return case
    raise ValueError(f"unknown case {name!r}; known: {', '.join(case.name for case in TIMED)}")
