"""Networks in C: the bits of predict, from several compilers, with and without fused multiply-add."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from assertions import refused, same_bits
from builders import elementwise_layers, make_network, make_rows
from choices import DTYPES, HIDDEN, NAN, Pairing
from densegrad import Blend, Dense, MLPClassifier, Network, activations
from densegrad.export import to_c
from programs import GCC, GCC_FMA, TOOLCHAINS, Toolchain, program

SHAPE = (60, 9, 33, 6, 3)
SOFTMAX = Pairing("log_loss", "softmax")
QUANTILES = Pairing("quantile", "identity", (("quantile", (0.1, 0.5, 0.9)),))


def params(toolchains: list[Toolchain]) -> list[Any]:
    return [
        pytest.param(toolchain, id=str(toolchain), marks=pytest.mark.skipif(bool(why), reason=why))
        for toolchain in toolchains
        for why in [toolchain.missing]
    ]


def all_activations(dtype: str) -> Network:
    """A network with every hidden activation, and a softmax behind them."""
    layers = [Dense(5 + l, activation) for l, activation in enumerate(HIDDEN)]
    return Network(SHAPE[1], [*layers, Dense(4, "softmax")], loss="log_loss", dtype=dtype, random_state=0)


@pytest.mark.parametrize("toolchain", params(TOOLCHAINS))
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["softmax", "quantiles", "one layer", "elementwise"])
def test_same_bits(
    toolchain: Toolchain, dtype: str, kind: str, rng: np.random.Generator, tmp_path: Path
) -> None:
    if kind == "softmax":
        network = all_activations(dtype)
    elif kind == "quantiles":
        network = make_network(SHAPE, QUANTILES, "tanh", dtype)
    elif kind == "elementwise":
        network = elementwise_layers(SHAPE[1], dtype)
    else:
        network = make_network((60, 9, 2), None, dtype=dtype)
    X = make_rows(SHAPE, rng, dtype) * np.exp(2 * rng.normal(size=(SHAPE[0], 1))).astype(dtype)
    assert same_bits(toolchain.predict(network, X, tmp_path), network.predict(X))


def points(dtype: str, rng: np.random.Generator) -> NDArray[Any]:
    """Preactivations of every size, and those at the ends of the range."""
    limits = np.finfo(dtype)
    sizes = 10.0 ** rng.uniform(-12, 2.9, size=4000)
    ends = [0.0, limits.tiny, limits.smallest_subnormal, limits.max / 4, limits.eps, 1.0, 87.4, 88.8, 709.0]
    values = np.concatenate([sizes, ends, np.linspace(0, 20, 2000)])
    return np.concatenate([values, -values]).astype(dtype)[:, np.newaxis]


@pytest.mark.parametrize("toolchain", params([GCC_FMA, GCC]))
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", activations())
def test_same_bits_of_each_activation(
    toolchain: Toolchain, activation: str, dtype: str, rng: np.random.Generator, tmp_path: Path
) -> None:
    z = points(dtype, rng)
    if activation != "softmax":
        network = Network(1, [Dense(1, activation)], loss="squared_error", dtype=dtype)
        network.weights[1] = [[1.0], [0.0]]
    else:
        network = Network(1, [Dense(3, activation)], loss="log_loss", dtype=dtype)
        network.weights[1] = [[1.0, -1.0, 0.25], [0.0, 0.5, 1.0]]
        z = z[np.abs(z[:, 0]) < 1e30]
    assert same_bits(toolchain.predict(network, z, tmp_path), network.predict(z))


@pytest.mark.parametrize("toolchain", params(TOOLCHAINS))
def test_products_in_double_are_not_rounded_twice(toolchain: Toolchain, tmp_path: Path) -> None:
    """x w + bias is just below half a unit above the bias; in double it is the half, which rounds up."""
    network = Network(1, [Dense(1, "identity")])
    network.weights[1] = [[2.0**-24 * (1 - 2.0**-15)], [1 + 2.0**-23]]
    outputs = toolchain.predict(network, np.array([[1 + 2.0**-15]]), tmp_path)
    assert outputs[0, 0] == np.float32(1 + 2.0**-23)


@pytest.mark.parametrize("toolchain", params([GCC]))
@pytest.mark.parametrize("dtype", DTYPES)
def test_error_of_plain_sums(
    toolchain: Toolchain, dtype: str, rng: np.random.Generator, tmp_path: Path
) -> None:
    """Each of n products and n sums is rounded: the error is below n eps (sum of |x W| + |bias|)."""
    shape = (200, 50, 8)
    network = make_network(shape, dtype=dtype)
    X = make_rows(shape, rng, dtype)
    plain = toolchain.with_options("-DDENSEGRAD_PLAIN").predict(network, X, tmp_path)
    W = network.weights[1].astype(np.float64)
    magnitude = np.abs(X) @ np.abs(W[:-1]) + np.abs(W[-1])
    error = np.abs(plain.astype(np.float64) - network.predict(X))
    assert error.max() > 0
    assert (error <= shape[1] * float(np.finfo(dtype).eps) * magnitude).all()


@pytest.mark.parametrize("toolchain", params([GCC]))
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["identity", "relu", "gelu"])
def test_blends_with_plain_sums(
    toolchain: Toolchain, activation: str, dtype: str, rng: np.random.Generator, tmp_path: Path
) -> None:
    """A blend needs the fused multiply-add also where its activation does not."""
    network = Network(2, [Dense(3, "identity"), Blend(activation), Dense(1, "identity")], dtype=dtype)
    X = rng.normal(size=(10, 2)).astype(dtype)
    plain = toolchain.with_options("-DDENSEGRAD_PLAIN").predict(network, X, tmp_path)
    np.testing.assert_allclose(plain, network.predict(X), rtol=1e-4)


@pytest.mark.parametrize("toolchain", params([GCC]))
@pytest.mark.parametrize("dtype", DTYPES)
def test_keeps_no_state_and_allocates_nothing(toolchain: Toolchain, dtype: str, tmp_path: Path) -> None:
    if shutil.which("nm") is None:
        pytest.skip("needs nm")
    toolchain.predict(all_activations(dtype), np.zeros((1, SHAPE[1])), tmp_path)
    program(["gcc", *toolchain.options, "-c", "predict.c", "-o", "predict.o"], tmp_path)
    listed = subprocess.run(["nm", "predict.o"], cwd=tmp_path, capture_output=True, text=True, check=True)
    symbols = [line.split()[-2:] for line in listed.stdout.splitlines()]
    assert not [name for kind, name in symbols if kind in "bBdDcC"]
    assert [name for kind, name in symbols if kind == "T"] == ["predict"]
    needed = {name for kind, name in symbols if kind == "U"}
    assert needed <= {"memcpy", "fma", "__stack_chk_fail"}


@pytest.mark.parametrize("toolchain", params([GCC]))
def test_two_networks_in_one_program(toolchain: Toolchain, tmp_path: Path) -> None:
    network = make_network((1, 2, 3, 1), dtype="float32")
    (tmp_path / "both.c").write_text(
        to_c(network, "first") + to_c(network, "second") + "int main(void) { return 0; }\n"
    )
    program(["gcc", *toolchain.options, "both.c", "-o", "both", "-lm"], tmp_path)


@pytest.mark.parametrize("toolchain", params([GCC]))
@pytest.mark.parametrize("option", ["-ffast-math", "-mfpmath=387"])
def test_options_that_change_numbers_are_errors(toolchain: Toolchain, option: str, tmp_path: Path) -> None:
    if option == "-mfpmath=387" and platform.machine() != "x86_64":
        pytest.skip("an option of x86")
    (tmp_path / "predict.c").write_text(to_c(make_network((1, 2, 3, 1))))
    command = ["gcc", *toolchain.options, option, "-c", "predict.c"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "#error" in done.stderr


@pytest.mark.parametrize("toolchain", params([GCC]))
def test_example_in_docs(toolchain: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "guide" / "export.md").read_text()
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (main,) = re.findall(r"```c\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(script, "export.md", "exec"), names)
    Path("main.c").write_text(main)
    program(["gcc", *toolchain.options, "main.c", "iris.c", "-o", "main"], tmp_path)
    printed = subprocess.run(["./main"], capture_output=True, text=True, check=True).stdout
    expected = names["net"].predict([[5.1, 3.5, 1.4, 0.2]])
    assert same_bits(np.array([printed.split()], np.float32), expected)
    assert expected.argmax() == 0


@pytest.mark.parametrize("name", ["", "2nd", "a-b", "int", "naïve"])
def test_names_that_are_no_identifiers_are_refused(name: str) -> None:
    refused("name must be an identifier in C", lambda: to_c(make_network((1, 2, 1)), name))


def test_what_has_no_form_is_refused() -> None:
    network = make_network((1, 2, 3, 1))
    refused("name must be a str", lambda: to_c(network, 3))  # type: ignore[arg-type]
    refused("network must be a Network; got MLPClassifier", lambda: to_c(MLPClassifier()))  # type: ignore[arg-type]
    broken = Network.from_spec(network.spec, np.full(network.n_parameters, NAN))
    refused(r"W_\(1\) must be finite", lambda: to_c(broken))
    object.__setattr__(network.layers[0], "activation", "cube")
    refused("the activation 'cube' of layer 1 has no form in C", lambda: to_c(network))
