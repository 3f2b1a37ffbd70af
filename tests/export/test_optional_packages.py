"""The features that need an optional package."""

from __future__ import annotations

import subprocess
import sys

import pytest

from builders import make_network
from densegrad.export import register_converters, to_onnx


@pytest.mark.parametrize("package", ["onnx", "skl2onnx"])
def test_missing_packages_are_told(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"needs the package {package},.*densegrad\[onnx\]"):
        register_converters() if package == "skl2onnx" else to_onnx(make_network((1, 2, 3, 1)))


NETWORK = "import sys, densegrad; net = densegrad.Network(2, [densegrad.Dense(1, 'identity')])\n"
ABSENT = "assert not {'onnx', 'skl2onnx', 'sklearn', 'scipy'} & sys.modules.keys()\n"


def test_c_needs_numpy_alone() -> None:
    code = NETWORK + "densegrad.export.to_c(net)\n" + ABSENT
    subprocess.run([sys.executable, "-c", code], check=True)


def test_networks_need_no_scikit_learn() -> None:
    pytest.importorskip("onnx", reason="needs onnx")
    code = NETWORK + "densegrad.export.to_onnx(net)\n" + ABSENT.replace("'onnx', ", "")
    subprocess.run([sys.executable, "-c", code], check=True)
