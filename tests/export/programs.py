"""C files of networks, compiled and run."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad import Network, _core
from densegrad.export import to_c

WARNINGS = ("-Wall", "-Wextra", "-pedantic", "-Werror")
# Rows come from the standard input, and outputs go to the standard output, as they are in memory.
MAIN = """
#include <stdio.h>
void predict(const {real} x[{n_inputs}], {real} y[{n_outputs}]);
int main(void)
{{
    {real} x[{n_inputs}], y[{n_outputs}];
    while (fread(x, sizeof x, 1, stdin) == 1) {{
        predict(x, y);
        fwrite(y, sizeof y, 1, stdout);
    }}
    return 0;
}}
"""
AARCH64 = "aarch64-linux-gnu-gcc"
AARCH64_LIBRARIES = Path("/usr/aarch64-linux-gnu")  # Debian's place for its headers and libraries
EMULATOR = next((name for name in ("qemu-aarch64-static", "qemu-aarch64") if shutil.which(name)), None)
CLANG = next(
    (name for name in ("clang", *(f"clang-{n}" for n in range(25, 13, -1))) if shutil.which(name)), None
)


def program(command: list[str], folder: Path) -> None:
    """Run a compiler; a warning is an error."""
    done = subprocess.run([*command, *WARNINGS], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Toolchain:
    """A compiler with its options, and what runs its programs."""

    name: str
    compiler: str | None
    options: tuple[str, ...]
    emulator: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name

    @property
    def missing(self) -> str:
        """What is not here, or nothing."""
        if "-mfma" in self.options and "avx2" not in _core.supported_instruction_sets():
            return "needs a processor with fused multiply-add"
        if self.compiler is None or shutil.which(self.compiler) is None:
            return f"needs the compiler {self.compiler or self.name}"
        if self.emulator and (EMULATOR is None or not (AARCH64_LIBRARIES / "include").exists()):
            return "needs an emulator and a C library (Debian: qemu-user-static, g++-aarch64-linux-gnu)"
        return ""

    def with_options(self, *options: str) -> Toolchain:
        """The same with more options."""
        return replace(self, options=(*self.options, *options))

    def predict(self, network: Network, X: NDArray[Any], folder: Path) -> NDArray[Any]:
        """Outputs of the network's C file for the rows of X."""
        real = "float" if network.dtype == np.float32 else "double"
        n_outputs = network.layers[-1].units
        (folder / "predict.c").write_text(to_c(network, "predict"))
        (folder / "main.c").write_text(MAIN.format(real=real, n_inputs=network.n_inputs, n_outputs=n_outputs))
        assert self.compiler is not None
        program([self.compiler, *self.options, "predict.c", "main.c", "-o", "program", "-lm"], folder)
        rows = np.ascontiguousarray(X, network.dtype).tobytes()
        run = subprocess.run(
            [*self.emulator, str(folder / "program")], input=rows, capture_output=True, check=True
        )
        return np.frombuffer(run.stdout, network.dtype).reshape(len(X), n_outputs)


_AARCH64_RUN = (EMULATOR or "", "-L", str(AARCH64_LIBRARIES))
GCC = Toolchain("gcc", "gcc", ("-std=c99", "-O2"))
GCC_FMA = Toolchain("gcc-fma", "gcc", ("-std=c99", "-O2", "-mfma"))
TOOLCHAINS = [
    GCC,
    GCC_FMA,
    # Outside ISO mode GCC fuses products with sums on its own.
    Toolchain("gcc-fma-gnu99-O3", "gcc", ("-std=gnu99", "-O3", "-mfma")),
    Toolchain("gcc-O0", "gcc", ("-std=c99", "-O0")),
    Toolchain("clang", CLANG, ("-std=c99", "-O2")),
    Toolchain("clang-fma-gnu99-O3", CLANG, ("-std=gnu99", "-O3", "-mfma")),
    Toolchain("aarch64", AARCH64, ("-std=gnu99", "-O2"), _AARCH64_RUN),
]
