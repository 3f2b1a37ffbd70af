"""The features of this build and of this machine."""

from __future__ import annotations

import platform
from typing import Any

from densegrad import _core, _versions


def config() -> dict[str, Any]:
    """Return what `show_config` prints, by names without spaces."""
    return {
        "version": _versions.installed(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "numpy": _version_of("numpy"),
        "scikit_learn": _version_of("scikit-learn"),
        "platform": platform.platform(),
        "compiler": _core.compiler(),
        "instruction_sets_built": _core.built_instruction_sets(),
        "instruction_sets_supported": _core.supported_instruction_sets(),
        "instruction_set": _core.instruction_set(),
        "openmp": _core.has_openmp(),
        "threads": _core.available_threads(),
    }


def show_config() -> None:
    """Print what a report of a fault needs: versions, platform, instruction sets, OpenMP and threads.

    ``python -m densegrad`` prints the same. The environment variable DENSEGRAD_ISA, read when densegrad is
    imported, forces an instruction set. All of them give the same results to the last bit.
    """
    for name, value in config().items():
        print(f"{name.replace('_', ' ') + ':':<28} {', '.join(value) if isinstance(value, list) else value}")


def _version_of(package: str) -> str:
    # Here, since it would take a third of the time to import densegrad.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
