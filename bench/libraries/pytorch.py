"""PyTorch, eager or compiled, with rows gathered by `index_select`.

Eager: `nn.Sequential` and the fused Adam. Compiled: forward pass, gradients and Adam in one graph, called
through inductor's C++ wrapper; of the ways to compile a step, the fastest one on these networks.
The first layer on sparse rows is an embedding bag: the weighted sum of the rows of W that have an entry.
No DataLoader: it collates row by row in Python and would hide everything else.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from torch import nn

from libraries.base import Library
from workloads import BETA_1, BETA_2, EPSILON, LEARNING_RATE, Matrix, Problem


class SparseLinear(nn.Module):
    """A linear layer on the columns and values that `padded` gives; its weight has shape (n_in, n_out)."""

    def __init__(self, n_in: int, n_out: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_in, n_out, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(n_out, dtype=dtype))

    def forward(self, rows: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        columns, values = rows
        bags = nn.functional.embedding_bag(columns, self.weight, per_sample_weights=values, mode="sum")
        return bags + self.bias


def padded(X: Any, kind: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Columns and values of CSR rows, each (rows, most entries of a row), padded with zeros."""
    counts = np.diff(X.indptr)
    columns = np.zeros((len(counts), counts.max()), np.int64)
    values = np.zeros(columns.shape, X.dtype)
    there = np.arange(columns.shape[1]) < counts[:, None]
    columns[there], values[there] = X.indices, X.data
    return torch.from_numpy(columns), torch.from_numpy(values).to(kind)


class TorchLibrary(Library):
    """PyTorch, eager, as a peer."""

    reads_sparse = True

    def __init__(self, threads: int, dtype: str) -> None:
        super().__init__(threads, dtype)
        torch.set_num_threads(threads)
        torch.manual_seed(0)

    def versions(self) -> dict[str, str]:
        return {"torch": torch.__version__}

    def load(self, problem: Problem) -> None:
        self.problem = problem
        kind = getattr(torch, self.dtype)
        self.sparse = not isinstance(problem.X, np.ndarray)
        self.X: Any = padded(problem.X, kind) if self.sparse else torch.from_numpy(problem.X).to(kind)
        self.y = torch.from_numpy(problem.y)
        layers: list[nn.Module] = []
        for n_in, n_out in itertools.pairwise(problem.sizes):
            linear = SparseLinear if self.sparse and not layers else nn.Linear
            layers += [linear(n_in, n_out, dtype=kind), nn.ReLU()]
        self.model = nn.Sequential(*layers[:-1])
        self.logits: Any = self.model

    def reset(self) -> None:
        linear = [layer for layer in self.model if isinstance(layer, (nn.Linear, SparseLinear))]
        with torch.no_grad():
            for layer, W in zip(linear, self.problem.weights, strict=True):
                matrix = W[:-1] if isinstance(layer, SparseLinear) else W[:-1].T
                layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(matrix)))
                layer.bias.copy_(torch.from_numpy(W[-1]))
        self.reset_optimizer()
        self.losses: list[torch.Tensor] = []

    def reset_optimizer(self) -> None:
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=LEARNING_RATE, betas=(BETA_1, BETA_2), eps=EPSILON, fused=True
        )

    def step(self, X: Any, y: torch.Tensor) -> torch.Tensor:
        """One update; returns the batch's loss."""
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.model(X), y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def train(self, epochs: int) -> None:
        rows = len(self.y)
        for _ in range(epochs):
            total = torch.zeros(())
            for chosen in torch.randperm(rows).split(self.problem.batch):
                loss = self.step(self.batch(chosen), self.y.index_select(0, chosen))
                total += loss * len(chosen)
            self.losses.append(total / rows)

    def batch(self, chosen: torch.Tensor) -> Any:
        """The input of the chosen rows."""
        if self.sparse:
            return tuple(part.index_select(0, chosen) for part in self.X)
        return self.X.index_select(0, chosen)

    def predict(self, X: Any) -> Matrix:
        rows: Any = padded(X, getattr(torch, self.dtype)) if self.sparse else torch.from_numpy(X)
        with torch.inference_mode():
            return torch.softmax(self.logits(rows), dim=1).numpy()


class CompiledTorchLibrary(TorchLibrary):
    """PyTorch, compiled, as a peer."""

    reads_sparse = False

    def load(self, problem: Problem) -> None:
        super().load(problem)
        torch._dynamo.reset()
        torch._inductor.config.cpp_wrapper = True
        self.parameters = [parameter.detach() for parameter in self.model.parameters()]
        names = [name for name, _ in self.model.named_parameters()]

        def loss_of(parameters: list[torch.Tensor], X: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            named = dict(zip(names, parameters, strict=True))
            return nn.functional.cross_entropy(torch.func.functional_call(self.model, named, (X,)), y)

        gradient_and_loss = torch.func.grad_and_value(loss_of)

        def step(
            parameters: list[torch.Tensor],
            moment_1: list[torch.Tensor],
            moment_2: list[torch.Tensor],
            t: torch.Tensor,
            X: torch.Tensor,
            y: torch.Tensor,
        ) -> torch.Tensor:
            gradients, loss = gradient_and_loss(parameters, X, y)
            t += 1
            root = torch.sqrt(1.0 - BETA_2**t)
            rate = LEARNING_RATE * root / (1.0 - BETA_1**t)
            for w, g, m, v in zip(parameters, gradients, moment_1, moment_2, strict=True):
                m.mul_(BETA_1).add_(g, alpha=1.0 - BETA_1)
                v.mul_(BETA_2).addcmul_(g, g, value=1.0 - BETA_2)
                w.sub_(rate * m / (v.sqrt() + EPSILON * root))
            return loss

        self.compiled_step = torch.compile(step, dynamic=False)
        self.logits = torch.compile(self.model)

    def reset_optimizer(self) -> None:
        self.moment_1 = [torch.zeros_like(w) for w in self.parameters]
        self.moment_2 = [torch.zeros_like(w) for w in self.parameters]
        self.t = torch.zeros((), dtype=getattr(torch, self.dtype))

    def step(self, X: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.compiled_step(self.parameters, self.moment_1, self.moment_2, self.t, X, y)
