"""Copies, pickles, files and vectors of weights are of one moment, also while another thread changes them."""

from __future__ import annotations

import contextlib
import copy
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assertions import same_bits
from builders import make_network
from densegrad import Network


def saved(network: Network, path: Path) -> Network:
    network.save(path)
    return Network.load(path)


READ_OUTS: dict[str, Callable[[Network, Path], Network]] = {
    "pickle": lambda network, _: pickle.loads(pickle.dumps(network)),
    "deepcopy": lambda network, _: copy.deepcopy(network),
    "astype": lambda network, _: network.astype("float32"),
    "save": saved,
}


@pytest.mark.parametrize("kind", READ_OUTS)
def test_all_layers_are_of_one_moment(kind: str, tmp_path: Path) -> None:
    network = make_network((1, *[150] * 8))
    network.parameters = np.zeros(network.n_parameters)
    done = threading.Event()
    errors: list[Any] = []

    def change() -> None:
        try:
            k = 0
            while not done.is_set():
                k += 1
                network.parameters = np.full(network.n_parameters, k % 1000)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(30):
            parameters = READ_OUTS[kind](network, tmp_path / "net").parameters
            assert parameters.min() == parameters.max()
    finally:
        done.set()
        thread.join()
    assert not errors


def test_a_backpropagation_is_of_one_pass(rng: np.random.Generator) -> None:
    network = make_network((1, 30, 40, 40, 3))
    data = [(rng.normal(size=(n, 30)), rng.normal(size=(n, 3))) for n in (64, 64)]
    expected = network.backpropagate(*data[0])
    done = threading.Event()

    def other_passes() -> None:
        while not done.is_set():
            with contextlib.suppress(RuntimeError):  # in use by another call
                network.backpropagate(*data[1])

    thread = threading.Thread(target=other_passes)
    thread.start()
    compared = 0
    try:
        while compared < 100:
            with contextlib.suppress(RuntimeError):
                p = network.backpropagate(*data[0])
                for l in range(1, network.depth + 1):
                    assert same_bits(p.outputs[l], expected.outputs[l])
                    assert same_bits(p.loss_gradients[l], expected.loss_gradients[l])
                    assert same_bits(p.deltas[l], expected.deltas[l])
                    assert same_bits(p.weight_gradients[l], expected.weight_gradients[l])
                compared += 1
    finally:
        done.set()
        thread.join()
