"""The same bits on another processor: the core cross-compiled for aarch64 and run under emulation."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COMPILER = "aarch64-linux-gnu-g++"
LIBRARIES = "/usr/aarch64-linux-gnu"  # Debian's place for what the cross-compiler links with
EMULATOR = next((name for name in ("qemu-aarch64-static", "qemu-aarch64") if shutil.which(name)), None)
CMAKE = shutil.which("cmake", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))

pytestmark = pytest.mark.skipif(
    EMULATOR is None or shutil.which(COMPILER) is None or CMAKE is None,
    reason=f"needs {COMPILER}, qemu-aarch64 and CMake (Debian: g++-aarch64-linux-gnu, qemu-user-static)",
)


def build(directory: Path, *options: str) -> Path:
    for command in (
        [CMAKE, "-S", str(ROOT), "-B", str(directory), "-DDENSEGRAD_TESTS=ON", *options],
        [CMAKE, "--build", str(directory), "-j", "2", "--target", "test_bits"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return directory / "test_bits"


def hashes(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2  # one hash a type
    return done.stdout


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> str:
    return hashes(build(tmp_path_factory.mktemp("native")))


@pytest.fixture(scope="module")
def aarch64(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(
        tmp_path_factory.mktemp("aarch64"),
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        f"-DCMAKE_CXX_COMPILER={COMPILER}",
    )


@pytest.mark.parametrize("isa", ["neon", "generic"])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_same_bits_on_aarch64(isa: str, n_threads: int, native: str, aarch64: Path) -> None:
    assert hashes(EMULATOR, "-L", LIBRARIES, aarch64, isa, str(n_threads)) == native
