"""Builds of the C++ core that tests look into or run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# CMake usually comes from the environment that runs the tests, activated or not.
CMAKE = shutil.which("cmake", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))


def build(directory: Path, *targets: str, options: tuple[str, ...] = ()) -> Path:
    """Configure `directory`, build `targets` there, and return it."""
    assert CMAKE is not None
    for command in (
        [CMAKE, "-S", str(ROOT), "-B", str(directory), "-DDENSEGRAD_TESTS=ON", *options],
        [CMAKE, "--build", str(directory), "-j", "2", "--target", *targets],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return directory


def output_of(*command: str | Path) -> str:
    """Run a program of the build, by an emulator or not, and return what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    return done.stdout
