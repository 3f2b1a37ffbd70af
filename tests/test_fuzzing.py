"""A short run of `make fuzz`."""

import subprocess
import sys

import pytest

from builds import ROOT


@pytest.mark.parametrize("what", ["files", "calls"])
def test_no_findings(what: str) -> None:
    # In a process of its own, which limits its memory.
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "fuzzing.py"), what, "500"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{what}: 500 inputs from seed 0, 0 findings" in done.stdout
