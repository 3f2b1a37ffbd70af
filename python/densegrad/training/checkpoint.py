"""Checkpoints: files from which a fit that was cut off goes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from densegrad import _validation, storage
from densegrad.training.communicator import PeerLost
from densegrad.training.descent import Part
from densegrad.training.history import ENDS


@dataclass(frozen=True)
class Checkpoint:
    """When a fit writes its file, and whether it begins with its contents."""

    path: str
    #: Epochs from one file to the next.
    every: int
    resume: bool

    @classmethod
    def of(cls, checkpoint: Any, every: Any, resume: Any) -> Checkpoint | None:
        """Return the checkpoint that the arguments of `fit` describe; None without a path."""
        every = _validation.integer("checkpoint_every", every, 1)
        resume = _validation.boolean("resume", resume)
        if checkpoint is None:
            return None
        if not isinstance(checkpoint, (str, bytes, os.PathLike)):
            raise TypeError(f"checkpoint must be a path or None; got {checkpoint!r}")
        return cls(os.fsdecode(checkpoint), every, resume)

    def due(self, epochs: int) -> bool:
        """Tell whether the file is to be written after so many epochs."""
        return epochs % self.every == 0

    def resumes(self) -> bool:
        """Tell whether there is a file to go on from; raise OSError if none can be written."""
        storage.check_writable(self.path)
        return self.resume and os.path.exists(self.path)

    def refuse(self, difference: str) -> ValueError:
        """Return the error of a file that is of another training."""
        return ValueError(
            f"checkpoint {self.path!r} is of another training: {difference}. Give another path, or"
            " resume=False to begin anew and replace it"
        )


@dataclass(frozen=True)
class Progress:
    """How far a fit had come when its checkpoint was written."""

    #: Epochs done.
    epochs: int
    #: Updates that the optimizer had made before the fit.
    first: int
    #: Updates of an epoch; None if not known.
    n_steps: int | None
    #: Why the fit ended; "" if it did not.
    stopped: str
    #: Checksum of the target; None if it is not at hand.
    target: int | None = None

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Progress:
        """Return the progress whose fields are in `state`."""
        n_steps = state["n_steps"]
        return cls(
            _validation.integer("epochs", state["epochs"], 0),
            _validation.integer("first", state["first"], 0),
            None if n_steps is None else _validation.integer("n_steps", n_steps, 0),
            _validation.choice("stopped", state["stopped"], ENDS),
            None if state["target"] is None else _validation.integer("target", state["target"], 0),
        )

    @property
    def ended(self) -> bool:
        """Whether the fit ended by itself; more epochs or more time would not make it go on."""
        return self.stopped in ("patience", "schedule", "callback", "converged", "line_search")

    def check(self, checkpoint: Checkpoint, fit: Progress, epochs: int, name: str) -> None:
        """Raise ValueError if the file is of a fit with other data, another batch size or more epochs.

        `fit` is this fit at its beginning, of `epochs` epochs in all; `name` is the argument that says so.
        """
        if fit.n_steps != self.n_steps:
            raise checkpoint.refuse(
                f"its epochs have {self.n_steps} updates, those of this fit {fit.n_steps}"
            )
        if fit.target != self.target:
            raise checkpoint.refuse("its y has other values")
        if epochs < self.epochs:
            raise checkpoint.refuse(f"it has {self.epochs} epochs behind it, and {name} is {epochs}")


@dataclass(frozen=True)
class Kept:
    """What a fit had at the end of an epoch, without weights: a file of the next one, broken off, has it."""

    #: Epochs of the fit, and of the trainer.
    epochs: int
    trained: int
    #: Updates of the trainer.
    steps: int
    schedule_state: dict[str, float]
    #: The state of `Patience`.
    patience: dict[str, Any]
    #: Why the fit ended; "" if it did not.
    stopped: str


class Saving:
    """Writes the checkpoint of a fit under way.

    Parameters
    ----------
    checkpoint : Checkpoint or None
        None writes nothing.
    is_first : bool
        Whether this is rank 0, whose file it is. If a rank is lost, each of the others writes: they do not
        know whom they have lost in truth.
    began : Progress
        The fit at its beginning.
    write : callable
        Writes the fit as it was at the end of an epoch, with the updates since.
    kept : Kept
        The fit at its beginning.
    """

    def __init__(
        self,
        checkpoint: Checkpoint | None,
        is_first: bool,
        began: Progress,
        write: Callable[[Checkpoint, Progress, Kept, Part], None],
        kept: Kept,
    ) -> None:
        self._checkpoint = checkpoint
        self._is_first = is_first
        self._began = began
        self._write = write
        self._kept = kept
        self._unsaved = False

    def after_epoch(self, epochs: int, kept: Kept) -> None:
        """Take note of the end of an epoch, and write the file if it is due."""
        self._kept, self._unsaved = kept, True
        if self._checkpoint is not None and self._checkpoint.due(epochs):
            self._save()

    def leave_out(self) -> None:
        """Leave out an epoch that may have been cut short, and those before it that are not written."""
        self._unsaved = False

    def at_end(self, kept: Kept) -> None:
        """Write the file at the end of the fit, if it is not up to date."""
        if self._unsaved:
            self._kept = kept
            self._save()

    def _save(self) -> None:
        if self._checkpoint is not None and self._is_first:
            self._write(self._checkpoint, self._began, self._kept, Part())
            self._unsaved = False

    def broken_off(self, error: BaseException, steps: int, so_far: Part) -> None:
        """Write the updates of an epoch that was broken off by `error`; `steps` are all of the trainer."""
        if self._checkpoint is None or not (self._is_first or isinstance(error, PeerLost)):
            return
        if steps != self._kept.steps + so_far.steps:
            return  # Ctrl-C may come between an update and the note of it
        try:
            self._write(self._checkpoint, self._began, self._kept, so_far)
        except OSError as failure:
            error.add_note(f"The checkpoint could not be written: {failure}")


def epoch_so_far(state: dict[str, Any], n_steps: int | None) -> Part:
    """Return how far the epoch under way had come, from the "fit" in a file."""
    loss_sum, n_rows, steps = state.get("epoch", Part()[:3])
    return Part(
        _validation.number("loss_sum", loss_sum),
        _validation.integer("n_rows", n_rows, 0),
        _validation.integer("steps", steps, 0, n_steps or 0),
    )
