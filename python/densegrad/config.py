"""The features of this build and of this machine."""

from __future__ import annotations

from typing import Any

from densegrad import _core, _versions


def config() -> dict[str, Any]:
    """Return version, compiler, instruction sets (built, supported and chosen), OpenMP and threads."""
    return {
        "version": _versions.installed(),
        "compiler": _core.compiler(),
        "instruction_sets_built": _core.built_instruction_sets(),
        "instruction_sets_supported": _core.supported_instruction_sets(),
        "instruction_set": _core.instruction_set(),
        "openmp": _core.has_openmp(),
        "threads": _core.available_threads(),
    }


def show_config() -> None:
    """Print version, compiler, instruction sets (built, supported and chosen), OpenMP and threads.

    The environment variable DENSEGRAD_ISA, read when densegrad is imported, forces an instruction set. All of
    them give the same results to the last bit.
    """
    for name, value in config().items():
        print(f"{name.replace('_', ' ') + ':':<28} {', '.join(value) if isinstance(value, list) else value}")
