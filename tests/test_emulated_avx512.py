"""The same bits from the AVX-512 kernels on any CPU: compiled with intrinsics emulated number by number."""

from pathlib import Path

import pytest

from builds import ROOT, build, output_of

# The optimiser's last tenth costs minutes here and tells nothing about bits.
OPTIONS = ("-DDENSEGRAD_EMULATED_AVX512=ON", "-DCMAKE_BUILD_TYPE=None", "-DCMAKE_CXX_FLAGS=-O1")


@pytest.fixture(scope="module")
def emulated(other_builds: Path) -> Path:
    return build(other_builds / "emulated-avx512", "test_bits", "test_golden", options=OPTIONS)


@pytest.mark.parametrize("n_threads", ["1", "2"])
def test_same_bits_from_avx512_kernels(n_threads: str, build_directory: Path, emulated: Path) -> None:
    native = build(build_directory, "test_bits") / "test_bits"
    assert output_of(emulated / "test_bits", "", n_threads) == output_of(native, "", n_threads)


def test_golden_hashes_from_avx512_kernels(emulated: Path) -> None:
    assert output_of(emulated / "test_golden") == (ROOT / "tests" / "golden" / "core.txt").read_text()
