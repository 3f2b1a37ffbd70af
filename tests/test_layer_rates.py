"""Rates by layer and hyperparameters by step: against the twin, NTK parametrisation, files, same bits."""

from __future__ import annotations

import copy
import itertools
import json
import math
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assertions import assert_close, same_bits
from builders import make_network, regression
from choices import DTYPES, OPTIMIZERS
from densegrad import Adam, AdamW, Dense, LayerRates, Network, NetworkSpec, Trainer, schedules
from reference import ACTIVATIONS, Array, Reference, softmax
from reference_training import Penalties, ReferenceTrainer

RATES = (LayerRates(0.5, 2.0, decay=3.0, epsilon=4.0), LayerRates(), LayerRates(3.0, 0.0, decay=0.5))


def with_rates(network: Network, rates: tuple[LayerRates, ...] = RATES) -> Network:
    layers = tuple(replace(layer, rates=r) for layer, r in zip(network.layers, rates, strict=True))
    return Network.from_spec(replace(network.spec, layers=layers), network.parameters)


def smooth_network(dropout: float = 0.3, dtype: str = "float64") -> Network:
    layers = [Dense(9, "tanh", dropout=dropout), Dense(7, "gelu", dropout=dropout), Dense(3, "softmax")]
    return with_rates(Network(4, layers, loss="log_loss", label_smoothing=0.2, dtype=dtype, random_state=0))


def classes(rng: np.random.Generator) -> tuple[Any, Any]:
    X = rng.normal(size=(120, 4))
    return X, (X[:, 0] > 0) + (X[:, 1] > 0.5).astype(np.int64)


@pytest.mark.parametrize(
    "penalties", [{}, {"l2": 0.3, "l1": 0.1, "weight_decay": 0.1, "clip_norm": 0.2}], ids=str
)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_rates_and_factors_equal_the_twins(
    optimizer: Any, penalties: dict[str, float], rng: np.random.Generator
) -> None:
    X, target = classes(rng)
    if hasattr(optimizer, "weight_decay"):
        penalties = {name: value for name, value in penalties.items() if name != "weight_decay"}
    network = smooth_network()
    twin = ReferenceTrainer(Reference.of(network), optimizer, Penalties(**penalties))
    twin.rates = list(RATES)
    options: dict[str, Any] = {
        "weight_decay_schedule": lambda step, _: 1 + math.sin(step),
        "dropout_schedule": lambda step, _: 0.5 + 0.5 * math.cos(step),
        "label_smoothing_schedule": lambda step, _: (step % 5) / 4,
    }
    trainer = Trainer(network, optimizer, random_state=0, **options, **penalties)
    twin.seed = trainer.state_dict()["seed"]
    for step in range(60):
        rows = rng.integers(len(X), size=30)
        factors = tuple(schedule(step, None) for schedule in options.values())
        expected = twin.step(X[rows], target[rows], factors=factors)  # type: ignore[arg-type]
        assert trainer.step(X[rows], target[rows]) == pytest.approx(expected, rel=1e-11)
    for W, V in zip(network.weights, twin.network.weights, strict=True):
        assert_close(W, V, "float64", slack=1e4)


class NTK:
    """z = x U / sqrt(n_in) + b with Adam on U and b, decay of U, written out."""

    def __init__(self, U: list[Array], b: list[Array], lr: float, epsilon: float, decay: float, bias: float):
        self.U, self.b = U, b
        self.lr, self.epsilon, self.decay, self.bias = lr, epsilon, decay, bias
        self.moments = [[np.zeros_like(p), np.zeros_like(p)] for p in [*U, *b]]
        self.t = 0

    def outputs(self, X: Array) -> tuple[list[Array], list[Array]]:
        y, z = [X], []
        for l, (U, b) in enumerate(zip(self.U, self.b, strict=True)):
            z.append(y[-1] @ U / math.sqrt(len(U)) + b)
            y.append(softmax(z[-1]) if l == len(self.U) - 1 else ACTIVATIONS["selu"][0](z[-1]))
        return y, z

    def step(self, X: Array, target: Array, efficient: bool) -> None:
        y, z = self.outputs(X)
        delta = (y[-1] - np.eye(y[-1].shape[1])[target]) / len(X)
        gradients: list[tuple[Array, Array]] = []
        for l in range(len(self.U) - 1, -1, -1):
            gradients.insert(0, (y[l].T @ delta / math.sqrt(len(self.U[l])), delta.sum(axis=0)))
            if l:
                delta = delta @ self.U[l].T / math.sqrt(len(self.U[l])) * ACTIVATIONS["selu"][1](z[l - 1])
        self.t += 1
        parameters = [*self.U, *self.b]
        all_gradients = [g for g, _ in gradients] + [g for _, g in gradients]
        for i, (p, g, (m, v)) in enumerate(zip(parameters, all_gradients, self.moments, strict=True)):
            lr = self.lr * (1.0 if i < len(self.U) else self.bias)
            m[:] = 0.9 * m + 0.1 * g
            v[:] = 0.95 * v + 0.05 * g * g
            right_1, right_2 = 1 - 0.9**self.t, 1 - 0.95**self.t
            decayed = lr * self.decay * p if i < len(self.U) else 0.0
            if efficient:
                p -= lr * math.sqrt(right_2) / right_1 * m / (np.sqrt(v) + self.epsilon)
            else:
                p -= lr * (m / right_1) / (np.sqrt(v / right_2) + self.epsilon)
            p -= decayed


def ntk_difference(optimizer: Any, rates: Any, dtype: str, rng: np.random.Generator) -> float:
    """Train the parametrisation and a network with these rates; return how far the outputs are apart."""
    X, target = classes(rng)
    widths = (4, 16, 25, 3)
    U = [rng.normal(size=shape) for shape in itertools.pairwise(widths)]
    b = [rng.normal(size=width) for width in widths[1:]]
    layers = [Dense(n, "selu", rates=rates(n_in)) for n_in, n in itertools.pairwise(widths[:-1])]
    layers.append(Dense(3, "softmax", rates=rates(widths[-2])))
    network = Network(4, layers, loss="log_loss", dtype=dtype, random_state=0)
    for l in range(1, 4):
        network.weights[l] = np.vstack([U[l - 1] / math.sqrt(len(U[l - 1])), b[l - 1]])
    twin = NTK(U, b, optimizer.lr, optimizer.epsilon, 0.02, 0.1)
    decay = {} if hasattr(optimizer, "weight_decay") else {"weight_decay": 0.02}
    trainer = Trainer(network, optimizer, **decay)  # type: ignore[arg-type]
    for _ in range(300):
        rows = rng.integers(len(X), size=32)
        twin.step(X[rows], target[rows], isinstance(optimizer, Adam))
        trainer.step(X[rows], target[rows])
    return float(np.abs(network.predict(X) - twin.outputs(X)[0][-1]).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "optimizer",
    [
        Adam(0.02, beta_1=0.9, beta_2=0.95, epsilon=1e-3),
        AdamW(0.02, beta_1=0.9, beta_2=0.95, epsilon=1e-3, weight_decay=0.02),
    ],
    ids=str,
)
def test_ntk_parametrisation_is_these_rates(optimizer: Any, dtype: str, rng: np.random.Generator) -> None:
    ntk = lambda n_in: LayerRates.ntk(n_in, bias=0.1)  # noqa: E731
    assert ntk_difference(optimizer, ntk, dtype, rng) < {"float64": 1e-9, "float32": 2e-3}[dtype]


@pytest.mark.parametrize("left_out", ["weights", "bias", "decay", "epsilon"])
def test_ntk_parametrisation_needs_each_factor(left_out: str, rng: np.random.Generator) -> None:
    optimizer = Adam(0.02, beta_1=0.9, beta_2=0.95, epsilon=1e-3)
    some = lambda n_in: replace(LayerRates.ntk(n_in, bias=0.1), **{left_out: 1.0})  # noqa: E731
    assert ntk_difference(optimizer, some, "float64", rng) > 1e-5


@pytest.mark.parametrize("batch_size", [32, 1500])  # the longer one goes in pieces
@pytest.mark.parametrize("dtype", DTYPES)
def test_factors_of_one_change_no_bit(dtype: str, batch_size: int, rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(2000, 4)), rng.integers(3, size=2000)
    ends = []
    for rates, schedule in (((LayerRates(),) * 3, None), ((LayerRates(1.0, 1.0),) * 3, schedules.Constant())):
        network = with_rates(smooth_network(dtype=dtype), rates)
        scheduled: dict[str, Any] = dict.fromkeys(
            ("weight_decay_schedule", "dropout_schedule", "label_smoothing_schedule"), schedule
        )
        trainer = Trainer(network, batch_size=batch_size, random_state=0, weight_decay=0.1, **scheduled)
        trainer.fit(X, target, epochs=2)
        ends.append(network.parameters)
    assert same_bits(*ends)


def test_factors_of_zero_switch_off(rng: np.random.Generator) -> None:
    X, target = classes(rng)
    never: dict[str, Any] = dict.fromkeys(
        ("weight_decay_schedule", "dropout_schedule", "label_smoothing_schedule"), lambda step, _: 0
    )
    network = smooth_network()
    Trainer(network, random_state=0, weight_decay=0.5, **never).fit(X, target, epochs=3)
    plain = smooth_network(dropout=0.0)
    plain = Network.from_spec(
        replace(plain.spec, loss=replace(plain.spec.loss, label_smoothing=0.0)), plain.parameters
    )
    # The same orders: the network without dropout draws no seed for its masks.
    random = np.random.RandomState(0)
    random.randint(2**63 - 1, dtype=np.int64)
    Trainer(plain, random_state=random).fit(X, target, epochs=3)
    assert same_bits(network.parameters, plain.parameters)


def test_a_layer_of_rate_zero_stays(rng: np.random.Generator) -> None:
    X, target = classes(rng)
    network = with_rates(smooth_network(), (LayerRates(0.0), LayerRates(0.0, 1.0), LayerRates()))
    before = [np.array(W) for W in network.weights]
    Trainer(network, weight_decay=0.1, random_state=0).fit(X, target, epochs=2)
    first, second, head = (W != V for W, V in zip(network.weights, before, strict=True))
    assert not first.any()
    assert not second[:-1].any()
    assert second[-1].all()
    assert head.any()


def test_rates_are_part_of_the_description(tmp_path: Path) -> None:
    network = smooth_network()
    assert network.spec != with_rates(network, (LayerRates(),) * 3).spec
    description = json.loads(json.dumps(network.spec.to_json()))
    assert NetworkSpec.from_json(description) == network.spec
    # Without rates nothing is written, as before.
    assert with_rates(network, (LayerRates(),) * 3).spec.to_json()["layers"][2] == [3, "softmax", 0.0]
    network.save(tmp_path / "net")
    for copied in (
        Network.load(tmp_path / "net"),
        pickle.loads(pickle.dumps(network)),
        copy.deepcopy(network),
    ):
        assert [layer.rates for layer in copied.layers] == list(RATES)
    frozen = replace(network.layers[0], trainable=False)
    spec = replace(network.spec, layers=(frozen, *network.layers[1:]))
    assert NetworkSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    for marks in (["slow"], [["rates", 1.0, 1.0, 1.0, 0.0]], [["rates", 1.0]] * 2, [["rates", *range(1, 7)]]):
        description["layers"][0][3:] = marks
        with pytest.raises(ValueError, match=r"marks|description|epsilon"):
            NetworkSpec.from_json(description)


@pytest.mark.parametrize(
    "arguments", [{"weights": -1}, {"bias": math.nan}, {"decay": math.inf}, {"epsilon": 0}], ids=str
)
def test_bad_rates(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(arguments))} must be"):
        LayerRates(**arguments)
    with pytest.raises(TypeError, match="rates must be a LayerRates"):
        Dense(2, rates=0.1)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["dropout", "label_smoothing", "weight_decay"])
def test_bad_factors(name: str, rng: np.random.Generator) -> None:
    X, target = classes(rng)
    argument = f"{name}_schedule"
    trainer = Trainer(smooth_network(), weight_decay=0.1)
    before = trainer.network.parameters
    factors = [-0.1, math.nan, math.inf] + ([] if name == "weight_decay" else [1.1])
    for factor in factors:
        setattr(trainer, argument, lambda step, _, factor=factor: factor)
        with pytest.raises(ValueError, match=f"{argument} must"):
            trainer.step(X, target)
    setattr(trainer, argument, lambda step, _: "much")
    with pytest.raises(TypeError, match=f"{argument} must return a factor"):
        trainer.step(X, target)
    with pytest.raises(ValueError, match=f"{argument} must be one of constant"):
        setattr(trainer, argument, "cosinus")
    with pytest.raises(TypeError, match=f"{argument} must be None, a Schedule"):
        Trainer(smooth_network(), **{argument: 0.5})
    assert same_bits(trainer.network.parameters, before)


def test_a_plateau_of_dropout_has_notes_of_its_own(rng: np.random.Generator) -> None:
    X, target = regression(rng)
    schedule = schedules.Plateau(0.5, 1, tol=1e9)
    trainer = Trainer(make_network((1, 4, 9, 2), dropout=0.5), schedule=schedule, dropout_schedule=schedule)
    trainer.fit(X, target, epochs=4)
    notes = trainer.state_dict()["schedule"]
    assert notes["factor"] == notes["dropout.factor"] == 0.125
    trainer = Trainer(
        make_network((1, 4, 9, 2)), weight_decay_schedule=schedules.Adaptive(0.1, 1, tol=1e9, lowest=0.1)
    )
    assert trainer.fit(X, target, epochs=50).stopped == "schedule"
