"""The ranks of a training: what they tell each other, and how they end together."""

from __future__ import annotations

import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from densegrad.training.communicator import Communicator, Interrupted, PeerLost
from densegrad.training.shards import additions, cuts_of, nodes_of

_Value = TypeVar("_Value")

# How a rank comes to a round.
_GOES_ON: Final = 0
_TIME_IS_UP: Final = 1
_FAILED: Final = 2

# What follows a round.
_UPDATE: Final = 1
_MESSAGE: Final = 2

_DIFFERENT_CALLS: Final = "all ranks must make the same calls in the same order; they made different ones"
_LINE: Final = 64  # bytes
_SMALL: Final = 8192  # bytes of a gradient that each rank may get whole

_MOST_NODES: Final = 60  # of a rank: two for each doubling of the shards, which are fewer than 2^30
_WORDS: Final = 4  # of a round: how, what follows, updates made, bytes of the message


def _outline(error: BaseException | None) -> bytes:
    """Return what other ranks are told about an error."""
    if error is None:
        return b""
    try:
        text = str(error)
    except Exception:  # an error of the user's, whose text fails; the ranks wait for this one all the same
        text = ""
    return f"{type(error).__name__}: {text}".removesuffix(": ").encode(errors="replace")


class Ranks:
    """Moves of a training between its ranks.

    Every move begins with a round, in which each rank says how it comes to it. So a rank that fails, wherever
    it is, says so in the round to which the others come next, and all end at the same update.

    Parameters
    ----------
    comm : Communicator
    shards : int
        Of the training.
    steps : callable
        Returns the number of updates made.

    Attributes
    ----------
    rank, size : int
    cuts : tuple of int
        First shard of each rank, and the number of shards.
    nodes : list
        For each rank, the nodes of the tree that its shards make up.
    time_is_up : bool
        Whether a rank's time was up before the end of the epoch.
    """

    def __init__(self, comm: Communicator, shards: int, steps: Callable[[], int]) -> None:
        self.comm = comm
        self.rank, self.size = comm.rank, comm.size
        self.cuts = cuts_of(comm, shards)
        self._steps = steps
        self.nodes = [
            nodes_of(shards, first, last) for first, last in zip(self.cuts, self.cuts[1:], strict=False)
        ]
        self._additions = additions(shards, [node for nodes in self.nodes for node in nodes])
        # A round of each rank: words, then the losses of its nodes. Its size may not depend on the settings,
        # which ranks compare by rounds.
        rounds = np.zeros((self.size, _WORDS + _MOST_NODES), np.int64)
        self._words = rounds[:, :_WORDS]
        self._losses = rounds[:, _WORDS:].view(np.float64)
        self._lines = [line.data.cast("B") for line in rounds]
        counts = np.array([len(nodes) for nodes in self.nodes])
        self._has_node = np.arange(_MOST_NODES) < counts[:, np.newaxis]
        self._moving = 0
        self._interrupted = False
        self._told: BaseException | None = None  # the error that all ranks know of
        self._broken = False  # a movement failed half-way: the others must find out by its end
        self._dtype = np.dtype(np.float64)
        self._exchange: Exchange | None = None
        self.time_is_up = False

    @property
    def first(self) -> int:
        """The first shard here."""
        return self.cuts[self.rank]

    @property
    def last(self) -> int:
        """The shard after the last one here."""
        return self.cuts[self.rank + 1]

    # --- failing together ---

    @contextmanager
    def together(self) -> Iterator[None]:
        """Tell the other ranks if what follows fails here, and delay Ctrl-C while bytes move."""
        with self._delayed_interrupts():
            try:
                yield
            except PeerLost as error:
                error.step = self._steps() if error.step is None else error.step
                raise
            except Interrupted:
                raise
            except BaseException as error:
                if error is not self._told and not self._broken:
                    self._tell(error)
                raise

    def _tell(self, error: BaseException) -> None:
        try:
            with self._move():
                self._round(_FAILED)
                self._end(error)
        except (PeerLost, Interrupted):
            pass  # the others know, or have gone

    @contextmanager
    def _delayed_interrupts(self) -> Iterator[None]:
        here = threading.current_thread() is threading.main_thread()
        if not here or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield
            return

        def handle(*_: object) -> None:
            if self._moving and not self._interrupted:
                self._interrupted = True  # the next round says so; who asks twice does not want to wait
            else:
                raise KeyboardInterrupt

        self._interrupted = False
        signal.signal(signal.SIGINT, handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _interrupt(self) -> BaseException | None:
        """Return KeyboardInterrupt if Ctrl-C or the engine has asked for the end of the training."""
        asked = self._interrupted or getattr(self.comm, "interrupted", False)
        return KeyboardInterrupt() if asked else None

    @contextmanager
    def _move(self) -> Iterator[None]:
        self._moving += 1
        try:
            yield
        except (PeerLost, Interrupted):
            raise
        except BaseException as error:
            self._broken = self._broken or error is not self._told
            raise
        finally:
            self._moving -= 1

    # --- rounds ---

    def _round(
        self, how: int, follows: int = 0, n_bytes: int = 0, losses: NDArray[np.float64] | None = None
    ) -> list[list[int]]:
        """Tell each other how the ranks come; return the words of all."""
        self._words[self.rank] = how, follows, self._steps(), n_bytes
        if losses is not None:
            self._losses[self.rank, : len(losses)] = losses
        self.comm.all_gather(self._lines[self.rank], self._lines)
        words: list[list[int]] = self._words.tolist()
        return words

    def _come(self, follows: int, n_bytes: int) -> list[list[int]]:
        """Make a round after which all go on."""
        error = self._interrupt()
        words = self._round(_GOES_ON if error is None else _FAILED, follows, n_bytes)
        self._check(words, error)
        return words

    def _check(self, words: list[list[int]], error: BaseException | None) -> None:
        if any(how == _FAILED for how, *_ in words):
            self._end(error)
        _, first, first_step, _ = words[0]
        for _, follows, step, _ in words:
            if follows != first or (follows == _UPDATE and step != first_step):
                self._raise_on_all(RuntimeError(_DIFFERENT_CALLS))

    def _end(self, error: BaseException | None) -> None:
        """End the training, since ranks said in the last round that they fail; `error`: of this rank."""
        failed = self._words[:, 0] == _FAILED
        texts = self._gathered(_outline(error)[:2000])
        if error is not None:
            self._told = error
            raise error
        rank = int(np.flatnonzero(failed)[0])
        step = self._steps()
        raise Interrupted(
            f"rank {rank} ended the training after {step} updates: {texts[rank].decode(errors='replace')}",
            rank,
            step,
        )

    def _gathered(self, message: bytes) -> list[bytes]:
        """Return the messages of all ranks; no round comes before."""
        lengths = np.zeros(self.size, np.int64)
        lengths[self.rank] = len(message)
        views = [lengths[i : i + 1].data.cast("B") for i in range(self.size)]
        self.comm.all_gather(views[self.rank], views)
        buffers = [bytearray(int(length)) for length in lengths]
        buffers[self.rank][:] = message
        views = [memoryview(buffer) for buffer in buffers]
        self.comm.all_gather(views[self.rank], views)
        return [bytes(buffer) for buffer in buffers]

    # --- messages ---

    def gather(self, message: bytes) -> list[bytes]:
        """Return the messages of all ranks."""
        with self._move():
            words = self._come(_MESSAGE, len(message))
            buffers = [bytearray(n_bytes) for *_, n_bytes in words]
            buffers[self.rank][:] = message
            views = [memoryview(buffer) for buffer in buffers]
            self.comm.all_gather(views[self.rank], views)
            return [bytes(buffer) for buffer in buffers]

    def share(self, value: _Value) -> list[_Value]:
        """Return the values of all ranks."""
        return [pickle.loads(message) for message in self.gather(pickle.dumps(value))]

    def of_first(self, value: _Value) -> _Value:
        """Return the value of rank 0."""
        message = pickle.dumps(value) if self.rank == 0 else b""
        shared: _Value = pickle.loads(self.gather(message)[0])
        return value if self.rank == 0 else shared

    def columns(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the columns of all ranks' arrays side by side, one for each shard."""
        shape = numbers.shape[:-1]
        parts = self.gather(np.ascontiguousarray(numbers, np.float64).tobytes())
        widths = np.diff(self.cuts)
        arrays = [
            np.frombuffer(part).reshape(*shape, width) for part, width in zip(parts, widths, strict=True)
        ]
        return np.concatenate(arrays, axis=-1)

    def any(self, value: bool) -> bool:
        """Tell whether the value is true on some rank."""
        return any(self.share(value))

    def total_rows(self, n_rows: int) -> int:
        """Return the rows of all ranks; ValueError on all of them if one has not the rows of its shards."""
        counts = self.share(n_rows)
        total, shards = sum(counts), self.cuts[-1]
        for rank, count in enumerate(counts):
            first, last = (cut * total // shards for cut in self.cuts[rank : rank + 2])
            if count != last - first:
                self._raise_on_all(
                    ValueError(
                        f"X of rank {rank} must have {last - first} rows of the {total} of all ranks; got"
                        f" {count}. rows_of(n_rows, shards, comm) tells which"
                    )
                )
        return total

    def check_equal(self, values: dict[str, Any]) -> None:
        """Raise ValueError, on all ranks, if a value differs between them."""
        everyone = self.share(values)
        if any(others.keys() != values.keys() for others in everyone):
            self._raise_on_all(RuntimeError(_DIFFERENT_CALLS))
        for name, value in everyone[0].items():
            for rank, others in enumerate(everyone):
                if others[name] != value:
                    self._raise_on_all(
                        ValueError(
                            f"{name} must be the same on all ranks; got {value!r} on rank 0 and"
                            f" {others[name]!r} on rank {rank}"
                        )
                    )

    def _raise_on_all(self, error: Exception) -> NoReturn:
        """Raise an error that every rank finds by itself."""
        self._told = error
        raise error

    # --- sums before an update ---

    @contextmanager
    def epoch(self, dtype: np.dtype[Any]) -> Iterator[None]:
        """Let `add_up` work during an epoch of the core, whose buffers stay where they are."""
        self.time_is_up = False
        self._dtype, self._exchange = dtype, None
        try:
            yield
        finally:
            self._exchange = None

    def add_up(
        self, stopped: bool, error: BaseException | None, losses: memoryview, partials: list[memoryview]
    ) -> bool:
        """Leave the sums of all ranks in the first loss and partial gradient; False ends the epoch.

        The core calls it before each update. `stopped`: the time is up here, or `error` has happened.
        """
        with self._move():
            error = self._interrupt() if error is None else error
            how = _FAILED if error is not None else _TIME_IS_UP if stopped else _GOES_ON
            values = np.frombuffer(losses, np.float64)
            words = self._round(how, _UPDATE, losses=values)
            self._check(words, error)
            if any(how == _TIME_IS_UP for how, *_ in words):
                self.time_is_up = True
                return False
            sums = self._losses[self._has_node].tolist()
            for target, source in self._additions:
                sums[target] += sums[source]
            values[0] = sums[0]
            if self._exchange is None:
                self._exchange = Exchange(self, partials, self._dtype)
            self._exchange.run(self._additions)
            return True


class Exchange:
    """Adds up the partial gradients of all ranks in the order of the tree.

    Each rank gets one tile of everybody's, adds for it, and sends everybody the result. Of small gradients
    all get all, which takes one movement in place of two.

    Parameters
    ----------
    ranks : Ranks
    partials : list of memoryview
        Those of this rank. The first one receives the sum.
    dtype : dtype
        Of their numbers.
    """

    def __init__(self, ranks: Ranks, partials: list[memoryview], dtype: np.dtype[Any]) -> None:
        self._comm = ranks.comm
        rank, size, counts = ranks.rank, ranks.size, [len(nodes) for nodes in ranks.nodes]
        n_bytes = len(partials[0])
        self._small = n_bytes <= _SMALL
        lines = n_bytes // _LINE
        cuts = [r * lines // size * _LINE for r in range(size)] + [n_bytes]
        tiles = [slice(0, n_bytes) if self._small else slice(cuts[r], cuts[r + 1]) for r in range(size)]
        mine, nothing = tiles[rank], memoryview(bytearray())
        received = [[memoryview(bytearray(mine.stop - mine.start)) for _ in range(count)] for count in counts]
        received[rank] = [partial[mine] for partial in partials]
        self._movements = []
        for i in range(max(counts)):  # one movement for each partial that some rank has
            send = [partials[i][tile] if i < counts[rank] else nothing for tile in tiles]
            receive = [received[r][i] if i < counts[r] else nothing for r in range(size)]
            receive[rank] = send[rank]
            self._movements.append((send, receive))
        self._values = [np.frombuffer(buffer, dtype) for buffers in received for buffer in buffers]
        self._sum = np.frombuffer(partials[0][mine], dtype)
        self._tiles = [partials[0][tile] for tile in tiles]
        self._rank = rank

    def run(self, additions: list[tuple[int, int]]) -> None:
        """Leave the sum in the first partial."""
        if not additions:
            return  # one rank has the whole tree
        for send, receive in self._movements:
            self._comm.all_to_all(send, receive)
        values = self._values
        with np.errstate(all="ignore"):  # a training that diverges says so itself
            for target, source in additions[:-1]:
                np.add(values[target], values[source], out=values[target])
            target, source = additions[-1]
            np.add(values[target], values[source], out=self._sum)
        if not self._small:
            self._comm.all_gather(self._tiles[self._rank], self._tiles)
