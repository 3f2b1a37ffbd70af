"""Copies, pickles, files and vectors of weights are of one moment, also while another thread changes them."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cases import make_network
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
