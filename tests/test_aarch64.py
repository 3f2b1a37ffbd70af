"""The same bits on another processor: the core cross-compiled for aarch64 and run under emulation."""

import shutil
from pathlib import Path

import pytest

from builds import CMAKE, ROOT, build, output_of

COMPILER = "aarch64-linux-gnu-g++"
LIBRARIES = "/usr/aarch64-linux-gnu"  # Debian's place for the cross-compiler's libraries
EMULATOR = next((name for name in ("qemu-aarch64-static", "qemu-aarch64") if shutil.which(name)), None)

pytestmark = pytest.mark.skipif(
    EMULATOR is None or shutil.which(COMPILER) is None or CMAKE is None,
    reason=f"needs {COMPILER}, qemu-aarch64 and CMake (Debian: g++-aarch64-linux-gnu, qemu-user-static)",
)


@pytest.fixture(scope="module")
def native(build_directory: Path) -> str:
    return output_of(build(build_directory, "test_bits") / "test_bits")


@pytest.fixture(scope="module")
def aarch64(other_builds: Path) -> Path:
    options = (
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        f"-DCMAKE_CXX_COMPILER={COMPILER}",
    )
    return build(other_builds / "aarch64", "test_bits", "test_golden", options=options)


def emulated(program: Path, isa: str, n_threads: int) -> str:
    assert EMULATOR is not None
    return output_of(EMULATOR, "-L", LIBRARIES, program, isa, str(n_threads))


@pytest.mark.parametrize("isa", ["neon", "generic"])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_same_bits_on_aarch64(isa: str, n_threads: int, native: str, aarch64: Path) -> None:
    assert emulated(aarch64 / "test_bits", isa, n_threads) == native


def test_golden_hashes_on_aarch64(aarch64: Path) -> None:
    wanted = (ROOT / "tests" / "golden" / "core.txt").read_text()
    assert emulated(aarch64 / "test_golden", "neon", 1) == wanted
