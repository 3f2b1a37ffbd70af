"""The small scripts of bench/ that no other test or command runs still work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parents[1] / "bench"


def test_what_diagnostics_costs() -> None:
    pytest.importorskip("matplotlib")
    done = subprocess.run(
        [sys.executable, BENCH / "diagnostics.py", "tiny"], capture_output=True, text=True, check=True
    )
    assert [line.split()[0] for line in done.stdout.splitlines()[2:]][:2] == ["never", "16"]


def test_what_derivatives_cost(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    import derivatives

    script: Any = derivatives
    monkeypatch.setattr(script, "REPEATS", 1)
    monkeypatch.setattr(script, "NETWORKS", {"3-4-2": ((3, 4, 2), "tanh", 5)})
    monkeypatch.setattr(sys, "argv", ["derivatives.py"])
    script.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11
    assert all(float(line.split("|")[2]) > 0 for line in lines[2:])
