"""The state of a trainer, which its next update depends on, in memory, in pickles and in files."""

from __future__ import annotations

import copy
import math
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from typing import Any, Self, TypeVar

from densegrad import _core, _validation, _versions, files, schedules
from densegrad._losses import CustomLoss
from densegrad._optimizers import AnyOptimizer
from densegrad.network import Network
from densegrad.training.arguments import checked_rhythm, checked_settings
from densegrad.training.checkpoint import Checkpoint, Kept, Progress, epoch_so_far
from densegrad.training.communicator import Communicator
from densegrad.training.descent import GradientDescent, Part
from densegrad.training.history import History
from densegrad.training.minimisation import Minimisation, descent_from_state, refuse
from densegrad.training.order import FreshOrder
from densegrad.training.ranks import Ranks
from densegrad.training.rates import SCHEDULED, AnySchedule, Rates, checked_memory
from densegrad.training.stopping import Patience

_More = TypeVar("_More")


class TrainerState:
    """The part of a trainer that holds its state and saves it."""

    network: Network
    batch_size: int | str
    shuffle: bool
    n_threads: int | None
    shards: int
    average_every: int | None
    history: History | None
    _ranks: Ranks | None

    def _train_by(
        self,
        descent: GradientDescent | Minimisation,
        random: _validation.RandomSource,
        schedule: AnySchedule | None,
        schedule_state: dict[str, float],
        factor_schedules: dict[str, AnySchedule] | None = None,
    ) -> None:
        self._descent = descent
        self._random, self._order = random, FreshOrder(random)
        self._rates = Rates(descent, schedule)
        self._rates.state = schedule_state
        self._rates.factor_schedules = dict(factor_schedules or {})

    @property
    def comm(self) -> Communicator | None:
        """The communicator of the ranks; assign one on all ranks at once, or None.

        Weights, the optimizer's state and the random state become those of rank 0. It is not part of pickles
        and files.
        """
        return None if self._ranks is None else self._ranks.comm

    @comm.setter
    def comm(self, comm: Communicator | None) -> None:
        ranks = self._ranks_of(comm)
        with together(ranks):
            self._join(ranks)

    def _join(self, ranks: Ranks | None) -> None:
        """Become one of the ranks."""
        if ranks is not None:
            ranks.check_equal(self._settings())
            self._take_from_first(ranks, None)
        self._ranks = ranks

    def _ranks_of(self, comm: Communicator | None) -> Ranks | None:
        """Return the ranks of a communicator; None without one."""
        if comm is None:
            return None
        if not isinstance(comm, Communicator):
            raise TypeError(
                f"comm must be a Communicator, as densegrad.distributed.connect gives, or None; got {comm!r}"
            )
        return Ranks(comm, self.shards, lambda: self.steps if hasattr(self, "_descent") else 0)

    def _settings(self) -> dict[str, Any]:
        """Return what has to be the same on all ranks."""
        spec = self.network.spec
        layers = [(l.units, l.activation_name, l.dropout, l.trainable) for l in spec.layers]
        regularisation = asdict(self._descent.regularisation)
        return {
            "shards": self.shards,
            "average_every": self.average_every,
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "optimizer": repr(self.optimizer),
            **{f"{name}_schedule": _named(self._rates.factor_schedules.get(name)) for name in SCHEDULED},
            "schedule": _named(self.schedule),
            **regularisation,
            "network: n_inputs": spec.n_inputs,
            "network: layers": layers,
            "network: dtype": spec.dtype.name,
            "network: loss": (spec.loss.name, spec.loss.parameters, spec.loss.label_smoothing),
        }

    def _take_from_first(self, ranks: Ranks, more: _More) -> _More:
        """Become equal to rank 0; return its `more`."""
        descent, random, state = self._descent.to_state(), self._random, dict(self._rates.state)
        taken = ranks.of_first((self.network.parameters, descent, random, state, more))
        if ranks.rank > 0:
            self.network.parameters, descent, random, self._rates.state, more = taken
            self._descent.restore_counts_and_arrays(descent)
            self._random, self._order = random, FreshOrder(random)
        return more

    @property
    def optimizer(self) -> AnyOptimizer:
        """The optimizer; assign another of the same class to change its hyperparameters, not its state."""
        return self._descent.optimizer

    @optimizer.setter
    def optimizer(self, optimizer: AnyOptimizer) -> None:
        self._descent.optimizer = optimizer

    @property
    def schedule(self) -> AnySchedule | None:
        """How the learning rate changes; assign a schedule, its name, a callable or None to change it."""
        return self._rates.schedule

    @schedule.setter
    def schedule(self, schedule: AnySchedule | str | None) -> None:
        self._rates.schedule = self._checked_schedule("schedule", schedule)

    def _checked_schedule(self, name: str, schedule: AnySchedule | str | None) -> AnySchedule | None:
        if isinstance(self._descent, Minimisation):
            refuse(**{name: schedule})
        checked: AnySchedule | None = schedules.checked(schedule, name)
        return checked

    def _set_factor_schedule(self, hyperparameter: str, schedule: AnySchedule | str | None) -> None:
        checked = self._checked_schedule(f"{hyperparameter}_schedule", schedule)
        self._rates.factor_schedules.pop(hyperparameter, None)
        if checked is not None:
            self._rates.factor_schedules[hyperparameter] = checked

    @property
    def weight_decay_schedule(self) -> AnySchedule | None:
        """How the weight decay changes; assign as for `schedule`."""
        return self._rates.factor_schedules.get("weight_decay")

    @weight_decay_schedule.setter
    def weight_decay_schedule(self, schedule: AnySchedule | str | None) -> None:
        self._set_factor_schedule("weight_decay", schedule)

    @property
    def dropout_schedule(self) -> AnySchedule | None:
        """How the dropout of every layer changes; assign as for `schedule`."""
        return self._rates.factor_schedules.get("dropout")

    @dropout_schedule.setter
    def dropout_schedule(self, schedule: AnySchedule | str | None) -> None:
        self._set_factor_schedule("dropout", schedule)

    @property
    def label_smoothing_schedule(self) -> AnySchedule | None:
        """How the label smoothing changes; assign as for `schedule`."""
        return self._rates.factor_schedules.get("label_smoothing")

    @label_smoothing_schedule.setter
    def label_smoothing_schedule(self, schedule: AnySchedule | str | None) -> None:
        self._set_factor_schedule("label_smoothing", schedule)

    @property
    def steps(self) -> int:
        """The number of updates made so far."""
        return self._descent.steps

    @property
    def epochs(self) -> int:
        """The number of epochs done so far."""
        return self._descent.epochs

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trainer to a safetensors file: all that its next fit depends on, and its network.

        A custom loss and schedules that are callables are not written: pass them to `load`.

        Parameters
        ----------
        path : str or path-like
            As in `Network.save`.

        Raises
        ------
        OSError
            If the file cannot be written; an old file stays.
        """
        with _core.Reading(self.network):  # another thread may train
            files.write(path, "trainer", self._file_state())

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        loss: CustomLoss | None = None,
        schedule: AnySchedule | None = None,
        weight_decay_schedule: AnySchedule | None = None,
        dropout_schedule: AnySchedule | None = None,
        label_smoothing_schedule: AnySchedule | None = None,
    ) -> Self:
        """Read a trainer that `save` or a fit with `checkpoint` wrote. No code in the file is run.

        Parameters
        ----------
        path : str or path-like
        loss : callable or None
            The custom loss, if the network was made with one.
        schedule : callable or Schedule or None
            The schedule, if it was a callable or a class of your own.
        weight_decay_schedule, dropout_schedule, label_smoothing_schedule : callable or Schedule or None
            As `schedule`.

        Raises
        ------
        ValueError
            If the file is damaged, or was written by something else or by a newer version. Also if an
            argument does not go with the file.
        FileNotFoundError
        """
        state = files.read(path, "trainer", loss)
        with files.damage(path, "trainer"):
            factor_schedules = dict(state.get("factor_schedules", {}))
            for name, given in (
                ("weight_decay", weight_decay_schedule),
                ("dropout", dropout_schedule),
                ("label_smoothing", label_smoothing_schedule),
            ):
                missing = factor_schedules.get(name, "") is None
                _check_given(path, f"{name}_schedule", given, missing)
                if given is not None:
                    factor_schedules[name] = given
            if not set(factor_schedules) <= set(SCHEDULED):
                raise ValueError(f"factor_schedules must be of {', '.join(SCHEDULED)}")
            _check_given(path, "schedule", schedule, "schedule" not in state)
            network, history = state["network"], state["history"]
            if not isinstance(network, Network):
                raise ValueError("a trainer must have a network")
            trainer = cls.__new__(cls)
            trainer.__setstate__(
                _versions.stamped(
                    {
                        "members": {
                            "network": network,
                            **checked_settings(
                                state["batch_size"],
                                state["shuffle"],
                                state["n_threads"],
                                state.get("shards", 1),
                            ),
                            "average_every": checked_rhythm(state.get("average_every"), 2),
                            "history": None if history is None else History.from_state(history),
                        },
                        "descent": state["descent"],
                        "random_state": _validation.random_source(state["random_state"]),
                        "schedule": schedules.checked(schedule or state["schedule"]),
                        "schedule_state": checked_memory(state["schedule_state"]),
                        "factor_schedules": {
                            name: schedules.checked(given, f"{name}_schedule")
                            for name, given in factor_schedules.items()
                        },
                    }
                )
            )
        return trainer

    def _file_state(self) -> dict[str, Any]:
        state = {
            "network": self.network,
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "n_threads": self.n_threads,
            "shards": self.shards,
            "average_every": self.average_every,
            "history": None if self.history is None else self.history.to_state(),
            **self._training_state(),
        }
        if not files.is_writable(self.schedule):
            del state["schedule"]
        state["factor_schedules"] = {
            name: schedule if files.is_writable(schedule) else None
            for name, schedule in self._rates.factor_schedules.items()
        }
        return state

    def _training_state(self) -> dict[str, Any]:
        return {
            "descent": self._descent.to_state(),
            "random_state": self._random,
            "schedule": self.schedule,
            "schedule_state": dict(self._rates.state),
            "factor_schedules": dict(self._rates.factor_schedules),
        }

    def _kept(self, stopping: Patience, so_far: Part) -> Kept:
        """Return what an epoch that is broken off goes back to; `so_far` is what it has behind it."""
        assert self.history is not None
        return Kept(
            len(self.history.loss),
            self.epochs,
            self.steps - so_far.steps,
            dict(self._rates.state),
            stopping.to_state(),
            self.history.stopped,
        )

    def _write_checkpoint(self, saver: Checkpoint, began: Progress, kept: Kept, so_far: Part) -> None:
        """Write the fit as it was at the end of an epoch, with the updates since."""
        assert self.history is not None
        if not _core.has_finite_weights(self.network) or not math.isfinite(so_far.loss_sum):
            return  # the next epoch diverges
        progress = replace(began, epochs=kept.epochs, stopped=kept.stopped)
        fit = {**asdict(progress), "patience": kept.patience, "epoch": list(so_far[:3])}
        history = self.history.first(kept.epochs, kept.patience["best_epoch"], kept.stopped)
        with _core.Reading(self.network):
            state = self._file_state()
            state["descent"]["epochs"] = kept.trained
            state.update(history=history.to_state(), schedule_state=kept.schedule_state, fit=fit)
            files.write(saver.path, "trainer", state)

    def _resume(
        self, saver: Checkpoint, fit: Progress, epochs: int, stopping: Patience
    ) -> tuple[Progress, Part]:
        """Take over the contents of a checkpoint, and return how far its fit and the epoch had come."""
        state = files.read(saver.path, "trainer", self.network.custom_loss)
        with files.damage(saver.path, "trainer"):
            if "fit" not in state:
                raise saver.refuse("`save` wrote it, not a fit")
            network, random = state["network"], _validation.random_source(state["random_state"])
            if network.spec != self.network.spec:
                raise saver.refuse("its network has another description")
            if state.get("shards", 1) != self.shards:
                raise saver.refuse(f"it has shards={state.get('shards', 1)}, this trainer {self.shards}")
            if state.get("average_every") != self.average_every:
                raise saver.refuse(
                    f"it has average_every={state.get('average_every')}, this trainer {self.average_every}"
                )
            optimizer = state["descent"]["optimizer"]
            if type(optimizer) is not type(self.optimizer):
                raise saver.refuse(f"its optimizer is {optimizer!r}, this trainer's {self.optimizer!r}")
            if not _core.has_finite_weights(network):
                raise ValueError("its weights must be finite")
            progress = Progress.from_state(state["fit"])
            progress.check(saver, fit, epochs, "epochs")
            in_parts = self.shards > 1 or isinstance(self._descent, Minimisation)
            so_far = epoch_so_far(state["fit"], progress.n_steps if in_parts else 0)
            history = History.from_state(state["history"])
            if len(history.loss) != progress.epochs:
                raise ValueError(f"it has losses of {len(history.loss)} epochs of {progress.epochs}")
            memory = checked_memory(state["schedule_state"])
            stopping.take_state(state["fit"]["patience"], self.network)
            self._descent.restore_counts_and_arrays(state["descent"])
        self.network.parameters = network.parameters
        self._random, self._order = random, FreshOrder(random)
        self._rates.state = memory
        self.history = history
        if not progress.ended:
            history.stopped = ""
        return progress, so_far

    def __getstate__(self) -> dict[str, Any]:
        inner = ("_descent", "_random", "_order", "_rates", "_ranks")
        members = {name: value for name, value in vars(self).items() if name not in inner}
        return _versions.stamped({"members": members, **self._training_state()})

    def __setstate__(self, state: Any) -> None:
        parts = _versions.read("Trainer", state)
        vars(self).update({"shards": 1, "average_every": None, "_ranks": None, **parts["members"]})
        descent = descent_from_state(self.network, parts["descent"])
        self._train_by(
            descent,
            parts["random_state"],
            parts["schedule"],
            parts["schedule_state"],
            parts.get("factor_schedules"),  # older pickles have none
        )

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of everything except the weights that the next update depends on.

        Returns
        -------
        dict
            "state" holds a list for each layer of the optimizer's arrays, of the shape of W_(l). With LBFGS
            it holds the memory of the curvature, and the weights in float64. The other keys are "steps",
            "epochs", "random_state", "seed" (of the dropout masks), "schedule" and "optimizer".
        """
        with _core.Reading(self.network):  # another thread may train
            return {
                "optimizer": self._descent.optimizer_name,
                "state": self._descent.state(),
                "steps": self.steps,
                "epochs": self.epochs,
                "random_state": copy.deepcopy(self._random),
                "seed": self._descent.seed,
                "schedule": dict(self._rates.state),
            }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state that `state_dict` returned.

        Raises
        ------
        ValueError
            If the state is for another optimizer or other shapes, or has a negative mean of squares. Also if
            it contains NaN, or infinity outside a mean of squares. The trainer is unchanged.
        """
        name = self._descent.optimizer_name
        try:
            if state["optimizer"] != name:
                raise ValueError(f"state must be of the optimizer {name}; got one of {state['optimizer']!r}")
            arrays = self._descent.checked_state(state["state"])
            seed = _validation.integer("seed", state["seed"], 0, 2**64 - 1)
            steps = _validation.integer("steps", state["steps"], 0)
            epochs = _validation.integer("epochs", state["epochs"], 0)
            random = copy.deepcopy(_validation.random_source(state["random_state"]))
            schedule_state = dict(state["schedule"])
            self._descent.restore(arrays, steps=steps, epochs=epochs, seed=seed)
        except (KeyError, TypeError) as error:
            raise ValueError(f"state must be what state_dict returned; {error!r}") from error
        self._random, self._order = random, FreshOrder(random)
        self._rates.state = schedule_state


def _check_given(path: str | os.PathLike[str], name: str, schedule: Any, missing: bool) -> None:
    if (schedule is not None) != missing:
        needs = "given, as it was a callable" if missing else "None: the file names it"
        raise ValueError(f"{name} must be {needs} ({os.fsdecode(path)!r})")


def _named(schedule: AnySchedule | None) -> str:
    return repr(schedule) if files.is_writable(schedule) else "a callable"


def together(ranks: Ranks | None) -> AbstractContextManager[None]:
    """Tell the other ranks, if there are any, if what follows fails here."""
    return nullcontext() if ranks is None else ranks.together()
