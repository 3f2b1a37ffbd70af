"""The small scripts of bench/ that no other test or command runs still work."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
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


def test_the_pages_of_benchmarks_never_mix_cpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(BENCH))
    import report
    import results

    def measured(family: str, ours: float) -> Any:
        run: Any = results.Results(f"a CPU of {family}", family, 1, "a compiler", 0.0, "2026-01-01")
        for case, theirs in (("tiny", 2.6e-3), ("odd", 0.9e-3)):
            run.train[results.Training(case, "float32", 1, "densegrad")] = [ours]
            run.train[results.Training(case, "float32", 1, "numpy")] = [theirs]
        return run

    fast, slow = measured("Fast 2", 1e-3), measured("Slow 1", 2e-3)
    with pytest.raises(ValueError, match="not of one machine"):
        fast.join(slow)
    for run in (slow, fast, fast):
        report.write_report(run, tmp_path)
    overview = (tmp_path / "benchmarks.md").read_text()
    assert [line for line in overview.splitlines() if line.startswith("## ")] == [
        "## How to read the tables",
        "## Fast 2",
        "## Slow 1",
    ]
    tables = overview.split("## Fast 2")[1].split("## Slow 1")
    for table, milliseconds, ratio, holds in zip(
        tables, ("1.00", "2.00"), ("2.60", "1.30"), ("ratio", "neither"), strict=True
    ):
        (tiny,) = (line for line in table.splitlines() if line.startswith("| tiny"))
        assert [cell.strip() for cell in tiny.split("|")[2:]] == [
            *(milliseconds, "numpy", f"{ratio}×", "2.5×", "–", "–", holds, "")
        ]
        assert "A peer is faster on: odd." in table
    assert (tmp_path / "benchmarks" / "fast-2.md").exists()


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


def test_what_unscaled_columns_cost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    import unscaled

    script: Any = unscaled
    for name, value in {"REPEATS": 1, "ROWS": 20, "ACTIVATIONS": ("softplus",), "ASKED": 0.0}.items():
        monkeypatch.setattr(script, name, value)
    monkeypatch.setattr(time, "process_time", itertools.count().__next__)
    script.main()
    lines = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == ["softplus", *["1.0"] * 4]
    assert lines[-1] == "Above 0: softplus."
