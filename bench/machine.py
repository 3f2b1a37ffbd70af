"""The machine that a measurement runs on: its name, its compiler, and the most that its cores can do."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PEAK_SECONDS = 0.05


def cpu_info() -> dict[str, str]:
    """The first processor's entries of /proc/cpuinfo."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def cpu_name() -> str:
    """The CPU's own name, with its widest usable vector instructions."""
    info = cpu_info()
    flags = info.get("flags", "").split()
    widest = next((name for name in ("avx512f", "avx2", "sse2") if name in flags), platform.machine())
    family = f"family {info['cpu family']} model {info['model']}, " if "cpu family" in info else ""
    return f"{info.get('model name', platform.processor() or 'unknown')} ({family}{widest})"


def cpu_family() -> str:
    """The family that the CPU belongs to, such as ``AMD Zen 5``: its cores have the same units and caches."""
    info = cpu_info()
    vendor = info.get("vendor_id", "")
    maker = {"AuthenticAMD": "AMD", "GenuineIntel": "Intel"}.get(vendor, vendor)
    if "cpu family" not in info:
        return f"{platform.machine()} {info.get('CPU implementer', '')} {info.get('CPU part', '')}".strip()
    family, model = int(info["cpu family"]), int(info["model"])
    zen_3_or_4 = "Zen 4" if "avx512f" in info.get("flags", "").split() else "Zen 3"
    names = {("AMD", 23): "Zen or Zen 2", ("AMD", 25): zen_3_or_4, ("AMD", 26): "Zen 5"}
    models = {85: "Skylake-SP", 106: "Ice Lake-SP", 143: "Sapphire Rapids", 207: "Emerald Rapids"}
    known = models.get(model) if (maker, family) == ("Intel", 6) else names.get((maker, family))
    return f"{maker} {known or f'family {family} model {model}'}"


def compiler() -> str:
    """The C++ compiler's command."""
    return os.environ.get("CXX", "g++")


def compiler_version() -> str:
    """First line of the compiler's version, or that there is none."""
    try:
        shown = subprocess.run([compiler(), "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "none"
    return shown.stdout.splitlines()[0]


def vector_options() -> list[str]:
    """Compiler options for the widest vectors of this CPU."""
    flags = cpu_info().get("flags", "").split()
    if "avx512f" in flags:
        return ["-mavx512f", "-mprefer-vector-width=512", "-DVECTOR_BYTES=64", "-DACCUMULATORS=24"]
    if "avx2" in flags and "fma" in flags:
        return ["-mavx2", "-mfma", "-DVECTOR_BYTES=32", "-DACCUMULATORS=12"]
    return ["-DVECTOR_BYTES=16", "-DACCUMULATORS=12"]


class FmaPeak:
    """Measures the peak of fused multiply-adds; `reason` says why when it cannot."""

    def __init__(self) -> None:
        self.reason = ""
        self.folder = tempfile.TemporaryDirectory()
        self.program = str(Path(self.folder.name) / "fma_peak")
        command = [compiler(), "-O3", "-std=c++20", "-ffp-contract=fast", "-pthread", *vector_options()]
        try:
            built = subprocess.run(
                [*command, str(HERE / "fma_peak.cpp"), "-o", self.program], capture_output=True, text=True
            )
        except OSError as error:
            self.reason = f"no compiler: {error}"
            return
        if built.returncode:
            self.reason = f"the register loop does not compile: {built.stderr.strip().splitlines()[-1]}"

    def gflops(self, dtype: str, threads: int, cpus: set[int]) -> float | None:
        """GFLOP/s of that many threads together, on the given CPUs."""
        if self.reason:
            return None
        shown = subprocess.run(
            [self.program, dtype, str(threads), str(PEAK_SECONDS)],
            capture_output=True,
            text=True,
            check=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cpus),
        )
        return float(shown.stdout)
