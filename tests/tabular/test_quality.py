"""bench/quality.py: ranks, the worth of each part, and the page of the documentation."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The modules of bench/."""
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(BENCH))
    import quality
    import ranks

    return quality, ranks


def test_ranks(scripts: Any) -> None:
    _, ranks = scripts
    values = np.array([[1.0, 2.0, 2.0], [3.0, 1.0, 2.0]])
    np.testing.assert_allclose(ranks.mean_ranks(values), [2.0, 1.75, 2.25])
    np.testing.assert_allclose(ranks.to_best(values), np.sqrt([3.0, 2.0, 4.0]))
    assert ranks.critical_distance(5, 30) == pytest.approx(2.728 * np.sqrt(5 * 6 / (6 * 30)))
    assert ranks.critical_distance(100, 30) is None


def test_a_model_without_all_data_sets_has_no_rank(scripts: Any) -> None:
    _, ranks = scripts
    results = {"one": {"a": {"main": 0.2}, "b": {"main": 0.1}, "c": {"main": 0.3}}}
    results["two"] = {"a": {"main": 0.2}, "c": {"main": 0.1}}
    assert ranks.complete(results, ["a", "b", "c"]) == ["a", "c"]
    text = ranks.report(results, ["a", "b", "c"], ranked=["a", "c"])
    assert "| two | 0.2 | – | **0.1** |" in text
    assert "\n| a | 1.50 |" in text
    assert "\n| b |" not in text
    assert "Ranks" not in ranks.report(results, ["a", "b", "c"], ranked=[])


def test_the_worth_of_a_part(scripts: Any) -> None:
    _, ranks = scripts
    whole, less = {"main": 0.2, "fit_cpu_s": 4.0}, {"main": 0.3, "fit_cpu_s": 2.0}
    results = {"one": {"densegrad": whole, "race": less}, "two": {"densegrad": whole}}
    assert ranks.ablation(results, ["race", "clamp"]).splitlines()[2:] == ["| race | 1.500 | – | 0.500 | 1 |"]


def test_the_page(scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    quality, _ = scripts
    monkeypatch.setattr(quality, "ABLATION", parts := ["members", "fading of dropout, smoothing and decay"])
    page, found = tmp_path / "page.md", tmp_path / "found.jsonl"
    arguments = f"quality.py {tmp_path} --sets wine,diabetes --models densegrad,hgb --rows 60 --repeats 1"
    further = f" --ablation --page {page} --results {found} --threads 1"
    monkeypatch.setattr(sys, "argv", (arguments + further + " --minutes 0").split())
    quality.main()
    assert not found.read_text()
    monkeypatch.setattr(sys, "argv", (arguments + further).split())
    quality.main()
    rows = [json.loads(line) for line in found.read_text().splitlines()]
    errors = {(row["data"], row["model"]): row["main"] for row in rows}
    assert len(errors) == len(rows) == 2 * 4
    assert len({errors["diabetes", part] for part in ("densegrad", *parts)}) == 3
    text = page.read_text()
    assert "No data set has more than 60 rows" in text
    assert "| members |" in text
    assert "## What was tried" in text
    assert (tmp_path / "images" / "bench-tabular-ranks.png").stat().st_size > 1000
    quality.main()  # nothing is measured twice
    assert len(found.read_text().splitlines()) == len(rows)


def test_the_page_names_cpu_and_threads(scripts: Any, tmp_path: Path) -> None:
    quality, _ = scripts
    rows = [{"model": "densegrad", "threads": 2}, {"model": "hgb"}, {"model": "realmlp", "threads": 1}]
    (found := tmp_path / "found.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    others = quality.other_threads(found, ["densegrad", "hgb", "realmlp"], 2)
    assert others == "; realmlp with 1"
    assert quality.other_threads(found, ["densegrad", "hgb"], 2) == ""
    assert quality.busiest(found) == np.inf
    assert "2 threads; realmlp with 1, while other work ran." in quality.machine(2, others, np.inf)
    text = quality.machine(2, others, 1.5)
    assert "load average up to 1.5" in text
    assert quality.cpu_name() in text


def test_realmlp_comes_last(scripts: Any) -> None:
    quality, _ = scripts
    assert quality.in_order(["densegrad", "realmlp", "hgb"], True) == [
        "densegrad",
        "hgb",
        *quality.ABLATION,
        "realmlp",
    ]
