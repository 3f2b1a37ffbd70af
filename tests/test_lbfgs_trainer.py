"""`Trainer` with LBFGS: the steps of the core's L-BFGS, one an epoch, with all that a fit offers."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray

from assertions import same_bits
from builders import half_square
from densegrad import LBFGS, Adam, Dense, LayerRates, Network, Trainer
from densegrad.samples import Samples
from densegrad.training.lbfgs import Lbfgs

N = 60
EVERYWHERE = LBFGS(gradient_tolerance=0.0, reduction_tolerance=0.0)


def refusal(kind: type[Exception], message: str) -> Any:
    return pytest.raises(kind, match=re.escape(message))


def network(dtype: str = "float64", **options: Any) -> Network:
    trainable = not options.pop("frozen", False)
    layers = [Dense(8, "tanh"), Dense(6, "relu", trainable=trainable), Dense(1, "identity")]
    return Network(5, layers, dtype=dtype, random_state=0, **options)


def data(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    X = rng.normal(size=(N, 5)) * (rng.random((N, 5)) < 0.3)
    return X, np.sin(X[:, :1]) + X[:, 1:2]


def trainer_of(made: Network, **options: Any) -> Trainer:
    return Trainer(made, EVERYWHERE, **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["plain", "custom", "sparse", "sparse custom"])
@pytest.mark.parametrize("weighted", [False, True])
def test_epochs_are_the_iterations_of_one_minimisation(
    dtype: str, kind: str, weighted: bool, rng: np.random.Generator
) -> None:
    X, target = data(rng)
    rows: Any = scipy.sparse.csr_matrix(X) if "sparse" in kind else X
    weight = rng.uniform(0.5, 2, N) if weighted else None
    options: dict[str, Any] = {"loss": half_square} if "custom" in kind else {}
    lbfgs = Lbfgs(network(dtype, **options))
    losses: list[float] = []
    lbfgs.minimise(
        Samples(lbfgs.network.spec, rows, target, weight),
        l2=0.3,
        max_iter=25,
        max_fun=10**9,
        gradient_tolerance=0.0,
        reduction_tolerance=0.0,
        n_threads=1,
        see=lambda epoch: losses.append(epoch.loss) or False,
    )
    trainer = trainer_of(network(dtype, **options), l2=0.3)
    history = trainer.fit(rows, target, sample_weight=weight, epochs=25)
    assert same_bits(trainer.network.parameters, lbfgs.network.parameters.astype(dtype))
    assert history.loss == losses
    assert (history.stopped, history.learning_rate, len(history.seconds)) == ("epochs", [], 25)
    assert (trainer.steps, trainer.epochs) == (25, 25)


def test_no_loss_is_computed_twice(rng: np.random.Generator) -> None:
    X, target = data(rng)
    calls = 0

    def counted(y_true: Any, y_pred: Any) -> Any:
        nonlocal calls
        calls += 1
        return half_square(y_true, y_pred)

    lbfgs = Lbfgs(network(loss=counted))
    settings = {"l2": 0.0, "max_fun": 10**9, "gradient_tolerance": 0.0, "reduction_tolerance": 0.0}
    lbfgs.minimise(Samples(lbfgs.network.spec, X, target, None), max_iter=25, n_threads=1, **settings)
    expected, calls = calls, 0
    trainer_of(network(loss=counted)).fit(X, target, epochs=25)
    assert calls == expected == lbfgs.evaluations


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("by", ["fit", "pickle", "file", "state_dict", "epoch", "step"])
def test_goes_on_where_it_stopped(dtype: str, by: str, tmp_path: Path, rng: np.random.Generator) -> None:
    X, target = data(rng)
    whole = trainer_of(network(dtype), l2=0.1)
    whole.fit(X, target, epochs=20)
    parts = trainer_of(network(dtype), l2=0.1)
    for _ in range(4):
        if by in ("epoch", "step"):
            losses = [getattr(parts, by)(X, target) for _ in range(5)]
            assert losses[-1] < losses[0]
        else:
            parts.fit(X, target, epochs=5)
        if by == "pickle":
            parts = pickle.loads(pickle.dumps(parts))
        elif by == "file":
            parts.save(tmp_path / "trainer.safetensors")
            parts = Trainer.load(tmp_path / "trainer.safetensors")
        elif by == "state_dict":
            other = trainer_of(parts.network, l2=0.1)
            other.load_state_dict(parts.state_dict())
            parts = other
    assert same_bits(parts.network.parameters, whole.network.parameters)
    assert parts.optimizer == EVERYWHERE
    assert parts.steps == 20


def test_a_checkpoint_continues_a_fit(tmp_path: Path, rng: np.random.Generator) -> None:
    X, target = data(rng)
    path = tmp_path / "fit.safetensors"
    whole = trainer_of(network("float32"))
    history = whole.fit(X, target, epochs=12, validation=(X, target), patience=5)

    def crash(epoch: int, logs: Any) -> None:
        if epoch == 7:
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        trainer_of(network("float32")).fit(
            X, target, epochs=12, validation=(X, target), patience=5, checkpoint=path, callbacks=[crash]
        )
    second = trainer_of(network("float32"))
    resumed = second.fit(X, target, epochs=12, validation=(X, target), patience=5, checkpoint=path)
    assert resumed.loss == history.loss
    assert same_bits(second.network.parameters, whole.network.parameters)


def test_a_fit_that_is_continued_at_its_end_makes_no_further_iteration(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """The file tells by how much the last iteration has lowered the loss."""
    X, target = data(rng)
    optimizer, path = LBFGS(gradient_tolerance=0.0, reduction_tolerance=1e-3), tmp_path / "fit.safetensors"
    history = Trainer(network(), optimizer).fit(X, target, epochs=500)
    n_epochs = len(history.loss)
    assert history.stopped == "converged"
    assert Trainer(network(), optimizer).fit(X, target, epochs=n_epochs, checkpoint=path).stopped == "epochs"
    again = Trainer(network(), optimizer).fit(X, target, epochs=500, checkpoint=path)
    assert (again.loss, again.stopped) == (history.loss, "converged")


def test_ctrl_c_leaves_a_checkpoint_of_the_last_iteration(tmp_path: Path, rng: np.random.Generator) -> None:
    X, target = data(rng)
    path = tmp_path / "fit.safetensors"
    whole = trainer_of(network())
    whole.fit(X, target, epochs=12)

    def press(epoch: int, logs: Any) -> None:
        if epoch == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer_of(network()).fit(
            X, target, epochs=12, checkpoint=path, checkpoint_every=100, callbacks=[press]
        )
    assert Trainer.load(path).steps == 8
    again = trainer_of(network())
    again.fit(X, target, epochs=12, checkpoint=path)
    assert same_bits(again.network.parameters, whole.network.parameters)


def test_ends_if_it_has_converged(tmp_path: Path, rng: np.random.Generator) -> None:
    X = rng.normal(size=(N, 5))
    target = X @ rng.normal(size=(5, 1))
    trainer = Trainer(Network(5, [Dense(1, "identity")], dtype="float64", random_state=0), "lbfgs", l2=1.0)
    path = tmp_path / "fit.safetensors"
    history = trainer.fit(X, target, epochs=500, checkpoint=path)
    assert history.stopped == "converged"
    assert 2 < len(history.loss) < 40
    ones = np.hstack([X, np.ones((N, 1))])
    solution = np.linalg.solve(ones.T @ ones + np.diag([1.0] * 5 + [0.0]), ones.T @ target)
    np.testing.assert_allclose(trainer.network.weights[1], solution, rtol=0, atol=1e-4)
    again = trainer.fit(X, target, epochs=500, checkpoint=path)
    assert again.loss == history.loss
    trainer.optimizer = LBFGS(gradient_tolerance=1e3)
    before = trainer.network.parameters
    assert trainer.fit(X, target).stopped == "converged"
    assert same_bits(trainer.network.parameters, before)
    assert trainer.epoch(X, target) == trainer.step(X, target) == history.loss[-1]


def test_tells_that_no_lower_loss_was_found(rng: np.random.Generator) -> None:
    X, target = data(rng)
    calls = 0

    def finite_once(y_true: Any, y_pred: Any) -> Any:
        nonlocal calls
        calls += 1
        loss, derivative = half_square(y_true, y_pred)
        return loss if calls == 1 else np.full_like(loss, np.inf), derivative

    trainer = trainer_of(network(loss=finite_once))
    before = trainer.network.parameters
    history = trainer.fit(X, target)
    assert (history.stopped, history.loss, trainer.steps) == ("line_search", [], 0)
    assert same_bits(trainer.network.parameters, before)


@pytest.mark.parametrize(("loss", "derivative"), [(np.nan, 0.0), (1.0, np.nan), (1.0, np.inf)])
def test_losses_and_gradients_that_are_not_finite_diverge(
    loss: float, derivative: float, rng: np.random.Generator
) -> None:
    X, target = data(rng)
    trainer = trainer_of(network(loss=lambda y_true, y_pred: (np.full(N, loss), np.full((N, 1), derivative))))
    with pytest.raises(ValueError, match="no longer finite"):
        trainer.fit(X, target)


@pytest.mark.parametrize("where", ["callback", "loss"])
def test_an_interruption_loses_nothing(where: str, rng: np.random.Generator) -> None:
    X, target = data(rng)
    due = 0

    def interrupted(*_: Any) -> Any:
        nonlocal due
        due -= 1
        if due == 0:
            raise KeyboardInterrupt
        return half_square(*_) if where == "loss" else None

    loss: Any = interrupted if where == "loss" else half_square
    whole = trainer_of(network(loss=loss))
    whole.fit(X, target, epochs=20)
    parts = trainer_of(network(loss=loss))
    due = 9
    with pytest.raises(KeyboardInterrupt):
        parts.fit(X, target, epochs=20, callbacks=[interrupted] if where == "callback" else [])
    assert 0 < parts.steps < 10
    parts.fit(X, target, epochs=20 - parts.steps)
    assert same_bits(parts.network.parameters, whole.network.parameters)


def test_the_best_weights_are_restored_and_gone_on_from(rng: np.random.Generator) -> None:
    X, target = data(rng)
    other = rng.normal(size=(N, 1))
    trainer = trainer_of(network())
    history = trainer.fit(X, target, epochs=200, validation=(X, other), patience=3)
    assert history.stopped == "patience"
    assert history.best_epoch is not None
    assert trainer.network.evaluate(X, other) == history.validation_loss[history.best_epoch]
    fresh = trainer_of(network())
    fresh.network.parameters = trainer.network.parameters
    trainer.fit(X, target, epochs=3)
    fresh.fit(X, target, epochs=3)
    assert same_bits(trainer.network.parameters, fresh.network.parameters)


def test_weights_that_a_callback_assigns_are_gone_on_from(rng: np.random.Generator) -> None:
    X, target = data(rng)
    trainer, fresh = trainer_of(network()), trainer_of(network())

    def halve(epoch: int, logs: Any) -> None:
        if epoch == 3:
            trainer.network.parameters = 0.5 * trainer.network.parameters
            fresh.network.parameters = trainer.network.parameters

    history = trainer.fit(X, target, epochs=7, callbacks=[halve])
    assert fresh.fit(X, target, epochs=3).loss == history.loss[4:]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_callback_that_looks_at_the_network_changes_nothing(dtype: str, rng: np.random.Generator) -> None:
    X, target = data(rng)
    trainer, watched = trainer_of(network(dtype)), trainer_of(network(dtype))

    def look(epoch: int, logs: Any) -> None:
        watched.network.backpropagate(X, target)
        watched.network.parameters = watched.network.parameters

    losses = trainer.fit(X, target, epochs=7).loss
    assert watched.fit(X, target, epochs=7, callbacks=[look]).loss == losses
    for other in (trainer, watched):
        other.network.weights[1] = 0.5 * other.network.weights[1]
    assert trainer.fit(X, target, epochs=3).loss == watched.fit(X, target, epochs=3).loss


def test_frozen_layers_stay(rng: np.random.Generator) -> None:
    X, target = data(rng)
    frozen = network(frozen=True)
    before = frozen.weights[2]
    trainer = trainer_of(frozen, l2=0.5)
    history = trainer.fit(X, target, epochs=30)
    assert same_bits(frozen.weights[2], before)
    assert history.loss[-1] < 0.5 * history.loss[0]
    by_adam = Trainer(frozen.astype("float64"), Adam(), l2=0.5, batch_size=N)
    assert by_adam.step(X, target) == pytest.approx(history.loss[-1], rel=1e-12)


def test_samples_of_the_network_are_taken(rng: np.random.Generator) -> None:
    X, target = data(rng)
    for dtype in ("float32", "float64"):
        made = network(dtype)
        rows = X.astype(dtype), target.astype(dtype)
        a, b = trainer_of(made.astype(dtype)), trainer_of(made)
        a.fit(*rows, epochs=5)
        b.fit(made.samples(*rows), epochs=5)
        assert same_bits(a.network.parameters, b.network.parameters)


def test_max_time_ends_a_fit(rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(2000, 5)), rng.normal(size=(2000, 1))
    history = trainer_of(network()).fit(X, target, epochs=10**6, max_time=0.2)
    assert history.stopped == "max_time"
    assert 0 < len(history.loss) < 10**6


def test_what_does_not_go_with_it_is_refused(rng: np.random.Generator) -> None:
    X, target = data(rng)
    net = network()
    for option in (
        {"l1": 0.1},
        {"weight_decay": 0.1},
        {"max_norm": 1.0},
        {"clip_norm": 1.0},
        {"schedule": "cosine"},
        {"weight_decay_schedule": "cosine"},
        {"dropout_schedule": "cosine"},
        {"label_smoothing_schedule": "cosine"},
    ):
        (name,) = option
        with refusal(ValueError, f"LBFGS makes no gradient steps on mini-batches that {name} could act on"):
            Trainer(net, "lbfgs", **option)  # type: ignore[arg-type]
    with refusal(ValueError, "layer 1 has dropout=0.5"):
        Trainer(Network(5, [Dense(3, "relu", dropout=0.5), Dense(1, "identity")]), LBFGS())
    with refusal(ValueError, "layer 1 has rates="):
        Trainer(Network(5, [Dense(3, "relu", rates=LayerRates(0.1)), Dense(1, "identity")]), LBFGS())
    with refusal(ValueError, "gradient_tolerance must be"):
        LBFGS(gradient_tolerance=-1.0)
    trainer = Trainer(net, LBFGS())
    with refusal(ValueError, "schedule could act on"):
        trainer.schedule = "cosine"
    with refusal(ValueError, "dropout_schedule could act on"):
        trainer.dropout_schedule = "cosine"
    with refusal(TypeError, "optimizer must be of class LBFGS"):
        trainer.optimizer = Adam()
    with refusal(TypeError, "optimizer must be of class Adam"):
        Trainer(network(), Adam()).optimizer = LBFGS()
    for call in (
        lambda: trainer.epoch(X, target, order=[1, 2]),
        lambda: trainer.epoch(X, target, learning_rate=0.1),
    ):
        with refusal(ValueError, "could act on"):
            call()
    with refusal(ValueError, "LBFGS takes all rows at once, not batches"):
        trainer.fit([(X, target)])
    small = Trainer(net, LBFGS(), batch_size=N - 1)
    for whole in (small.fit, small.epoch):
        with refusal(
            ValueError, "batch_size must be 'auto' with LBFGS, which takes all 60 rows at once; got 59"
        ):
            whole(X, target)
    assert Trainer(network(), LBFGS(), batch_size=N).fit(X, target, epochs=2).stopped == "epochs"
    with refusal(ValueError, "NaN or infinity"):
        trainer.fit(np.full((N, 5), np.nan), target)
    state = trainer.state_dict()
    trainer.fit(X, target, epochs=3)
    full = trainer.state_dict()
    for change in (
        {"curvatures": np.zeros(3)},
        {"steps": np.zeros((3, 1))},
        {"parameters": np.full(1, np.nan)},
    ):
        with refusal(ValueError, next(iter(change))):
            trainer.load_state_dict({**full, "state": {**full["state"], **change}})
    with refusal(ValueError, "state must be of the optimizer LBFGS"):
        trainer.load_state_dict({**state, "optimizer": "Adam"})
    trainer.load_state_dict(state)
    assert trainer.state_dict()["state"] is None


def test_shards_are_refused_with_what_knows_none() -> None:
    with refusal(ValueError, "average_every could act on"):
        Trainer(network(), LBFGS(), shards=4, average_every=2)
    with refusal(ValueError, "LBFGS with shards needs a loss by name; got a custom loss and shards=4"):
        Trainer(network(loss=half_square), LBFGS(), shards=4)
