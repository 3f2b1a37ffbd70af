"""Gradient descent: the optimizer with its state; updates and epochs, each of them one call of the core."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from densegrad import _core, _epochs, _validation, schedules
from densegrad._loss import custom_rows
from densegrad._optimizers import SQUARES, Adam, Optimizer
from densegrad._samples import Samples, samples_of, some_rows
from densegrad._tables import OPTIMIZER_NUMBER, OPTIMIZERS
from densegrad.history import Best, Callback, History
from densegrad.network import Network

# The fields of the core's OptimizerSpec that an optimizer without them ignores.
_UNUSED = {
    "momentum": 0.0,
    "nesterov": False,
    "beta_1": 0.0,
    "beta_2": 0.0,
    "epsilon": 1e-8,
    "weight_decay": 0.0,
}


class Trainer:
    """Trains a network by gradient descent on batches.

    Parameters
    ----------
    network : Network
        Changed in place.
    optimizer : SGD, Adam, AdamW, NAdam, RMSprop, Adagrad or Lion, default Adam()
    batch_size : int or "auto", default "auto"
        Rows in an update; "auto" is min(200, number of rows). The last batch of an epoch may be smaller.
    shuffle : bool, default True
        Take the rows of each epoch in a new random order.
    random_state : int, RandomState, Generator or None
        Source of the orders and of the dropout masks.
    n_threads : int or None
        At most so many; small work uses fewer. None: as many as the process may use. The results are the same
        bits for any number.
    l2 : float, default 0.0
        The loss of a batch gets l2 / 2 · sum w² / (sum of the batch's sample weights), biases left out.
    l1 : float, default 0.0
        The loss of a batch gets l1 · sum |w| / (sum of the batch's sample weights), biases left out.
    weight_decay : float, default 0.0
        Decoupled: w ← w - learning rate · weight_decay · w at each update, biases left out.
    max_norm : float or None
        Largest norm of the weights into one unit, the bias left out; longer ones are scaled down after each
        update.
    clip_norm : float or None
        Largest norm of the gradient, by all weights, of the batch's loss without the penalties; a longer one
        is scaled down before the gradients of `l2` and `l1` are added to it, which are not bounded.
    schedule : Schedule, str, callable or None
        How the learning rate changes; see `densegrad.schedules`, whose names, "cosine" and the like, stand
        for a schedule with its defaults. A callable gets the number of the update,
        from 0, and that of the one after the fit's last (None where it is not known), and returns
        the rate.

    Attributes
    ----------
    network : Network
    optimizer : Optimizer
        May be replaced by one of the same class; its state is kept.
    steps, epochs : int
        Updates and epochs done so far.
    history : History or None
        Of the last fit, also when an error or Ctrl-C ended it.

    Raises
    ------
    ValueError, TypeError
        Where an argument is not as described.

    Notes
    -----
    The state of the optimizer, the numbers of steps and epochs and the random state go on from one fit to the
    next: fit(epochs=10) twice equals fit(epochs=20) bit for bit, also when the trainer was pickled between.
    Only the schedules `Cosine` and `OneCycle`, which run over the updates of one fit, begin anew.

    Examples
    --------
    >>> import numpy as np
    >>> from densegrad import Adam, Dense, Network, Trainer
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> net = Network(3, [Dense(8, "tanh"), Dense(1, "identity")], random_state=0)
    >>> history = Trainer(net, Adam(0.01), batch_size=20, random_state=0).fit(X, X.sum(axis=1), epochs=20)
    >>> history.loss[-1] < history.loss[0]
    True
    """

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer = Adam(),  # noqa: B008 - frozen
        *,
        batch_size: int | str = "auto",
        shuffle: bool = True,
        random_state: Any = None,
        n_threads: int | None = None,
        l2: float = 0.0,
        l1: float = 0.0,
        weight_decay: float = 0.0,
        max_norm: float | None = None,
        clip_norm: float | None = None,
        schedule: schedules.Schedule | str | Callable[[int, int | None], float] | None = None,
    ) -> None:
        if not isinstance(network, Network):
            raise TypeError(f"network must be a Network; got {network!r}")
        self.network = network
        self._optimizer = _checked_optimizer(optimizer)
        self.batch_size = "auto" if batch_size == "auto" else _validation.integer("batch_size", batch_size, 1)
        self.shuffle = _validation.boolean("shuffle", shuffle)
        self.n_threads = (
            None if n_threads is None else _validation.integer("n_threads", n_threads, 1, 1 << 20)
        )
        self._penalties = {
            "l2": _validation.real("l2", l2, 0),
            "l1": _validation.real("l1", l1, 0),
            "max_norm": 0.0
            if max_norm is None
            else _validation.real("max_norm", max_norm, 0, closed="neither"),
            "clip_norm": 0.0
            if clip_norm is None
            else _validation.real("clip_norm", clip_norm, 0, closed="neither"),
        }
        self._weight_decay = _validation.real("weight_decay", weight_decay, 0)
        self.schedule = schedules.checked(schedule)
        self._random = _validation.random_source(random_state)
        self._seed = self._draw_seed() if any(layer.dropout for layer in network.layers) else 0
        self._core = self._make_core(self._seed)
        self._memory: dict[str, float] = {}
        self._first_step = 0
        self._rows_in_order = np.arange(0)
        self._rates = np.zeros(0)
        self.epochs = 0
        self.history: History | None = None

    def _draw_seed(self) -> int:
        if isinstance(self._random, np.random.Generator):
            return int(self._random.integers(2**63))
        return int(self._random.randint(2**63 - 1, dtype=np.int64))

    def _make_core(self, seed: int) -> _core.Trainer:
        number = OPTIMIZER_NUMBER[type(self._optimizer).__name__]
        return _core.Trainer(self.network, number, self._numbers(self._optimizer), seed)

    def _numbers(self, optimizer: Optimizer) -> dict[str, Any]:
        numbers = {**_UNUSED, **self._penalties, **asdict(optimizer)}
        del numbers["lr"]
        if self._weight_decay and numbers["weight_decay"]:
            raise ValueError("weight_decay must be given to the optimizer or to the trainer, not to both")
        numbers["weight_decay"] += self._weight_decay
        return numbers

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer; assign another of the same class to change its numbers and keep its state."""
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer: Optimizer) -> None:
        if type(optimizer) is not type(self._optimizer):
            raise TypeError(f"optimizer must be of class {type(self._optimizer).__name__}; got {optimizer!r}")
        self._core.set_hyperparameters(self._numbers(optimizer))
        self._optimizer = optimizer

    @property
    def steps(self) -> int:
        """The number of updates made so far."""
        return self._core.steps

    # --- training ---

    def step(self, X: Any, target: Any, sample_weight: ArrayLike | None = None) -> float:
        """Make one update with all rows of X as its batch.

        Parameters are those of `Network.samples`.

        Returns
        -------
        float
            The loss of the batch before the update, penalties included.
        """
        samples = some_rows(samples_of(self.network, X, target, sample_weight))
        loss, _, _ = self._run(samples, None, self._learning_rates(1, None), samples.n_rows)
        return loss

    def epoch(
        self,
        X: Any,
        target: Any = None,
        *,
        sample_weight: ArrayLike | None = None,
        order: ArrayLike | None = None,
        learning_rate: ArrayLike | None = None,
    ) -> float:
        """Go once over the rows, in one call of the core.

        Parameters
        ----------
        X, target, sample_weight
            As for `Network.samples`, or Samples alone.
        order : array-like of int or None
            Numbers of the rows in the order to take them, some or all of them. None: a random order, or with
            shuffle=False that of X.
        learning_rate : float, array-like of shape (updates,) or None
            None: by the optimizer and the schedule.

        Returns
        -------
        float
            Mean over the rows of the loss of their batch, penalties included. May be infinite or NaN.
        """
        samples = some_rows(samples_of(self.network, X, target, sample_weight))
        rows = self._order(samples.n_rows) if order is None else _checked_order(order)
        n_rows = samples.n_rows if rows is None else len(rows)
        batch_size = self._batch_size(n_rows)
        n_steps = math.ceil(n_rows / batch_size)
        if learning_rate is None:
            rates = self._learning_rates(n_steps, None)
        else:
            rates = _checked_rates(learning_rate, n_steps)
        loss, _, _ = self._run(samples, rows, rates, batch_size)
        self.epochs += 1
        return loss

    def fit(
        self,
        X: Any,
        target: Any = None,
        *,
        epochs: int = 10,
        sample_weight: ArrayLike | None = None,
        validation: Sequence[Any] | None = None,
        scoring: Callable[[Trainer], float] | None = None,
        patience: int | None = None,
        tol: float = 1e-4,
        restore_best: bool = True,
        max_time: float | None = None,
        callbacks: Iterable[Callback] = (),
        progress: bool = False,
    ) -> History:
        """Train for some epochs.

        Parameters
        ----------
        X, target, sample_weight
            As for `Network.samples`, or Samples alone. Or X is an iterable of batches, (X, target) or
            (X, target, sample_weight) each, of which every one makes one update; it is gone over once an
            epoch.
        epochs : int, default 10
        validation : (X, target) or (X, target, sample_weight) or Samples or None
            A set whose loss is taken after each epoch.
        scoring : callable or None
            Called with the trainer after each epoch, returns a number; more is better.
        patience : int or None
            Ends the fit after this many epochs in a row without an improvement by more than `tol`: of the
            score, or without scoring of the validation's loss, or without either of the training's loss.
        tol : float, default 1e-4
        restore_best : bool, default True
            With `patience`, end with the weights of the best epoch.
        max_time : float or None
            Seconds after which the fit ends, also in the middle of an epoch.
        callbacks : iterable of callables
            Called after each epoch with its number, from 0, and a dict of what the history got; True ends the
            fit.
        progress : bool, default False
            Show a progress bar.

        Returns
        -------
        History

        Raises
        ------
        ValueError
            Where an argument is not as described, or X has NaN or infinity (the network is not changed; where
            that is one of several batches, it keeps the updates of those before); or where the loss or the
            weights became infinite or NaN, or the score NaN (the network is what the updates left).
        KeyboardInterrupt
            On Ctrl-C, within a fraction of a second; the network keeps the updates made so far.
        """
        return _epochs.fit(
            self,
            X,
            target,
            sample_weight,
            epochs=epochs,
            validation=validation,
            scoring=scoring,
            best=Best(patience, tol, restore_best),
            max_time=max_time,
            callbacks=callbacks,
            progress=progress,
        )

    def _batch_size(self, n_rows: int) -> int:
        return max(1, min(200 if self.batch_size == "auto" else int(self.batch_size), n_rows))

    def _order(self, n_rows: int) -> NDArray[np.int64] | None:
        if not self.shuffle:
            return None
        if len(self._rows_in_order) != n_rows:
            self._rows_in_order = np.arange(n_rows, dtype=np.int64)
        order = self._rows_in_order.copy()
        _core.shuffle(order, self._random)
        return order

    def _learning_rates(self, n_steps: int, last: int | None) -> NDArray[np.float64]:
        if self.schedule is None:
            if len(self._rates) != n_steps or self._rates[0] != self._optimizer.lr:
                self._rates = np.full(n_steps, self._optimizer.lr)
            return self._rates
        steps = np.arange(self.steps, self.steps + n_steps)
        position = schedules.Position(steps, self.epochs, self._first_step, last, self._memory)
        rates = schedules.learning_rates(self.schedule, self._optimizer.lr, position)
        return _checked_rates(rates, n_steps, "schedule")

    def _run(
        self,
        samples: Samples,
        order: NDArray[np.int64] | None,
        rates: NDArray[np.float64],
        batch_size: int,
        end: float = math.inf,
    ) -> tuple[float, int, bool]:
        """Make the updates of one epoch: (loss, updates made, whether the time was up before the last)."""
        custom = None
        if (y_true := samples.custom_target) is not None:
            loss_function = self.network.custom_loss
            assert loss_function is not None
            custom = lambda rows, y_pred: custom_rows(loss_function, y_true[rows], y_pred)  # noqa: E731
        deadline = 0.0 if math.isinf(end) else end
        return self._core.epoch(
            samples.rows, samples.targets, order, rates, batch_size, self.n_threads or 0, deadline, custom
        )

    # --- state ---

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of everything that the next update depends on beside the network's weights.

        Returns
        -------
        dict
            "state" holds a list for each layer of the optimizer's arrays, of the shape of W_(l); further
            "steps", "epochs", "random_state", "seed" (of the dropout masks), "schedule" and "optimizer".
        """
        n_states = OPTIMIZERS[type(self._optimizer).__name__]["state_count"]
        layers = range(1, self.network.depth + 1)
        with _core.Reading(self.network):  # another thread may train
            return {
                "optimizer": type(self._optimizer).__name__,
                "state": [[self._core.state(l, s) for s in range(n_states)] for l in layers],
                "steps": self.steps,
                "epochs": self.epochs,
                "random_state": copy.deepcopy(self._random),
                "seed": self._seed,
                "schedule": dict(self._memory),
            }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was taken, of a trainer with the same optimizer and shapes.

        Raises
        ------
        ValueError
            Where the state is of another optimizer, or of a network of other shapes, or holds NaN, infinity
            other than a mean of squares, or a mean of squares below zero. The trainer is not changed.
        """
        self._load_state_dict(state, check_numbers=True)

    def _load_state_dict(self, state: dict[str, Any], *, check_numbers: bool) -> None:
        name = type(self._optimizer).__name__
        try:
            if state["optimizer"] != name:
                raise ValueError(f"state must be of the optimizer {name}; got one of {state['optimizer']!r}")
            if len(state["state"]) != self.network.depth:
                raise ValueError(f"state must be of {self.network.depth} layers; got {len(state['state'])}")
            seed = _validation.integer("seed", state["seed"], 0, 2**64 - 1)
            core = self._make_core(seed)
            for l, arrays in enumerate(state["state"], 1):
                if len(arrays) != OPTIMIZERS[name]["state_count"]:
                    raise ValueError(
                        f"state must have {OPTIMIZERS[name]['state_count']} arrays for each layer"
                    )
                for s, array in enumerate(arrays):
                    core.set_state(l, s, self._checked_state(s, array) if check_numbers else array)
            core.steps = _validation.integer("steps", state["steps"], 0)
            epochs = _validation.integer("epochs", state["epochs"], 0)
            random = copy.deepcopy(_validation.random_source(state["random_state"]))
            memory = dict(state["schedule"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"state must be what state_dict returned; {error!r}") from error
        self._core, self.epochs, self._random, self._memory, self._seed = core, epochs, random, memory, seed

    def _checked_state(self, s: int, array: Any) -> NDArray[Any]:
        numbers = _validation.real_array("state", array)
        squares = SQUARES.get(type(self._optimizer).__name__) == s
        if squares and np.any(numbers < 0):
            raise ValueError(f"state must hold no mean of squares below zero; got {numbers.min():g}")
        # Squares may have overflowed, which makes the steps zero.
        _validation.finite("state", numbers[numbers != np.inf] if squares else numbers, self.network.dtype)
        return numbers

    def __getstate__(self) -> dict[str, Any]:
        members = self.__dict__.copy()
        for name in ("_core", "_rows_in_order", "_rates"):
            del members[name]
        return {"members": members, "state": self.state_dict()}

    def __setstate__(self, pickled: dict[str, Any]) -> None:
        self.__dict__.update(pickled["members"])
        self._rows_in_order = np.arange(0)
        self._rates = np.zeros(0)
        # As it was, also where training had diverged.
        self._load_state_dict(pickled["state"], check_numbers=False)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._optimizer}, batch_size={self.batch_size!r}, steps={self.steps})"


def _checked_optimizer(optimizer: Any) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be an instance of {', '.join(OPTIMIZERS)}; got {optimizer!r}")
    return optimizer


def _checked_order(order: ArrayLike) -> NDArray[np.int64]:
    """Return row numbers as the core reads them; it checks itself that X has such rows."""
    array = np.asarray(order)
    if array.ndim != 1 or array.dtype.kind not in "iu" or len(array) == 0:
        raise ValueError(
            f"order must be row numbers in one dimension; got shape {array.shape}, {array.dtype}"
        )
    return _validation.readable_array(array, np.int64)


def _checked_rates(rates: ArrayLike, n_steps: int, name: str = "learning_rate") -> NDArray[np.float64]:
    try:
        array = _validation.readable_array(rates, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name} must be a number, or one for each update; got {rates!r}") from None
    if array.shape not in ((1,), (n_steps,)):
        raise ValueError(
            f"{name} must be one number or one for each of {n_steps} updates; got shape {np.shape(rates)}"
        )
    if not (array.min() >= 0 and array.max() < math.inf):
        raise ValueError(f"{name} must be finite and not negative; got {rates!r}")
    return array if len(array) == n_steps else np.full(n_steps, array[0])
