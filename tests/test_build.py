"""Things that a build must not do to the process that imports it, or have in its objects."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import densegrad
from builds import ROOT, build

TIMEOUT = 60  # s: a hang is what some of these tests look for


def run(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def output(code: str, **env: str) -> str:
    done = run(code, **env)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_denormals_survive_the_import() -> None:
    # A library linked with -ffast-math switches them off for the whole process when it is loaded.
    # The operands are numpy's so that no constant folding answers in the processor's place.
    code = """
import numpy as np
import densegrad
smallest = np.array([5e-324]), np.array([1e-45], np.float32)
assert all((x + x)[0] > 0 and (x * x.dtype.type(1))[0] > 0 for x in smallest), smallest
normal = np.array([2.3e-308])
assert (normal / 4)[0] > 0
print("kept")
"""
    assert output(code) == "kept"


def test_denormals_survive_a_fit() -> None:
    code = """
import numpy as np
from densegrad import Dense, Network, Trainer, SGD, _core
_core.set_exact_threads(True)
net = Network(3, [Dense(2, "tanh"), Dense(1)], loss="squared_error", random_state=0)
Trainer(net, SGD(0.1), batch_size=4, n_threads=2).fit(np.ones((8, 3)), np.ones(8), epochs=1)
assert (np.array([2.3e-308]) / 4)[0] > 0
print("kept")
"""
    assert output(code) == "kept"


def test_import_is_light() -> None:
    code = """
import sys
import numpy
of_numpy = set(sys.modules)
import densegrad
from densegrad import Network, Dense, Trainer, SGD, Adam, check_gradients
heavy = {"sklearn", "scipy", "tqdm", "joblib", "matplotlib", "pandas", "numpy.random", "importlib.metadata"}
print(sorted(heavy & set(sys.modules) - of_numpy))
"""
    assert output(code) == "[]"


def test_version_is_the_project_s() -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert densegrad.__version__ == version[1]


# --- instruction sets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["avx1024", "AVX2 ", "sse", "0"])
def test_unknown_instruction_set_is_a_clear_error(name: str) -> None:
    done = run("import densegrad", DENSEGRAD_ISA=name)
    assert done.returncode == 1  # an exception, not a signal
    message = done.stderr.strip().splitlines()[-1]
    assert re.match(r"(ValueError|ImportError): ", message), message
    assert "DENSEGRAD_ISA" in message
    assert repr(name) in message
    for isa in densegrad._core.supported_instruction_sets():
        assert isa in message


# --- kernel objects -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kernel_objects(build_directory: Path) -> dict[str, list[Path]]:
    """Object files of the kernels by instruction set."""
    if not os.environ.get("DENSEGRAD_BUILD"):
        build(build_directory, *(f"kernels_{isa}" for isa in densegrad._core.built_instruction_sets()))
    found: dict[str, list[Path]] = {}
    for path in build_directory.glob("**/kernels_*.dir/**/*.o"):
        library = next(part for part in path.parts if part.startswith("kernels_"))
        found.setdefault(library.removeprefix("kernels_").removesuffix(".dir"), []).append(path)
    return found


ALLOWED_UNDEFINED = {
    "fma",
    "fmaf",
    "memcpy",
    "memmove",
    "memset",
    "_GLOBAL_OFFSET_TABLE_",
    "__stack_chk_fail",
}


@pytest.mark.skipif(shutil.which("nm") is None, reason="needs nm")
@pytest.mark.parametrize("isa", densegrad._core.built_instruction_sets())
def test_kernels_have_no_weak_symbols(isa: str, kernel_objects: dict[str, list[Path]]) -> None:
    # The linker keeps one of several weak definitions: it may be the one compiled for AVX-512, and then the
    # code for every other instruction set would call it.
    assert kernel_objects.get(isa), f"no object files of {isa}"
    for path in kernel_objects[isa]:
        nm = subprocess.run(["nm", "-C", str(path)], capture_output=True, text=True, check=True).stdout
        kinds = [(line[17], line[19:]) for line in nm.splitlines()]
        assert any(name == f"densegrad::{isa}::kKernels" for _, name in kinds), "not the kernels"
        assert [name for kind, name in kinds if kind in "wWvVu"] == []
        undefined = {name for kind, name in kinds if kind == "U"}
        assert undefined <= ALLOWED_UNDEFINED
