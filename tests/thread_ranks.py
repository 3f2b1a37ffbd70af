"""Programs of several ranks that are threads: what each returned or raised; a small fit for all of them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from builders import half_square
from choices import ISAS
from densegrad import Adam, Dense, Network, Trainer, _core
from densegrad.distributed import Communicator, ThreadCommunicator, rows_of

ISA_LOCK = threading.Lock()  # the instruction set is of the process


def outcomes(
    size: int,
    program: Callable[[Communicator], Any],
    *,
    cuts: Sequence[int] | None = None,
    timeout: float = 30.0,
    group: Sequence[Communicator] | None = None,
) -> list[Any]:
    """What `program` returned on each rank, or the exception that it raised; a rank that ends leaves."""
    found: list[Any] = [None] * size

    def run(comm: Communicator) -> None:
        try:
            found[comm.rank] = program(comm)
        except BaseException as error:
            found[comm.rank] = error
            comm.close()

    comms = ThreadCommunicator.group(size, cuts=cuts, timeout=timeout) if group is None else group
    threads = [threading.Thread(target=run, args=[comm]) for comm in comms]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def on_ranks(size: int, program: Callable[[Communicator], Any], **options: Any) -> list[Any]:
    """What `program` returned on each rank; its first exception is raised here."""
    found = outcomes(size, program, **options)
    for result in found:
        if isinstance(result, BaseException):
            raise result
    return found


@dataclass
class Fit:
    """A small fit, whose every part a rank may hold."""

    n: int = 203
    shards: int = 8
    batch: int | str = 48
    dtype: str = "float32"
    optimizer: Any = field(default_factory=lambda: Adam(0.01))
    weighted: bool = False
    custom: bool = False
    dropout: float = 0.0
    activation: Any = "tanh"
    sparse: bool = False
    widths: tuple[int, ...] = (18, 9)
    options: dict[str, Any] = field(default_factory=dict)
    epochs: int = 2

    def run(self, comm: Any = None, isa: str | None = None) -> str:
        """The hash of all that it leaves on a rank."""
        rng = np.random.default_rng(0)
        X: Any = rng.normal(size=(self.n, 7)) * rng.integers(2, size=(self.n, 7))
        target = rng.normal(size=(self.n, 2))
        if self.sparse:
            X = csr_array(X)
        weight = rng.choice([0.0, 0.5, 1.0, 3.0], self.n) if self.weighted else None
        layers = [
            *(Dense(n, self.activation, dropout=self.dropout) for n in self.widths),
            Dense(2, "identity"),
        ]
        loss: Any = half_square if self.custom else "squared_error"
        with ISA_LOCK:
            if isa is not None:
                _core.set_instruction_set(isa)
            network = Network(7, layers, loss=loss, dtype=self.dtype, random_state=0)
        rank = 0 if comm is None else comm.rank
        mine = rows_of(self.n, self.shards, comm)
        trainer = Trainer(
            network,
            self.optimizer,
            batch_size=self.batch,
            shards=self.shards,
            comm=comm,
            random_state=12 + rank,
            n_threads=1 + rank % 2,
            **self.options,
        )
        weights = () if weight is None else (weight[mine],)
        history = trainer.fit(
            X[mine],
            target[mine],
            sample_weight=None if weight is None else weight[mine],
            epochs=self.epochs,
            validation=(X[mine], target[mine], *weights),
        )
        found = hashlib.sha256(network.parameters.tobytes())
        state = trainer.state_dict()["state"]
        for arrays in state.values() if isinstance(state, dict) else state:  # of L-BFGS, or of each layer
            for array in np.atleast_1d(arrays) if isinstance(state, dict) else arrays:
                found.update(array.tobytes())
        found.update(np.array(history.loss + history.validation_loss).tobytes())
        return found.hexdigest()

    def check(self, sizes: tuple[int, ...] = (1, 2, 3, 5, 8)) -> None:
        alone = self.run()
        for size in sizes:
            if size <= self.shards:
                assert on_ranks(size, self.run) == [alone] * size, f"{size} ranks"

    def check_on_processors(self) -> None:
        """Each of three ranks has another instruction set."""
        used = _core.instruction_set()
        try:
            alone = self.run()
            found = on_ranks(3, lambda comm: self.run(comm, ISAS[comm.rank % len(ISAS)]))
        finally:
            _core.set_instruction_set(used)
        assert found == [alone] * 3
