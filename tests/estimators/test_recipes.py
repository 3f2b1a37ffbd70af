"""Every line of docs/recipes.md runs."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
SETUP = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
ROWS = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| ")][1:]


def test_the_table_is_read_whole():
    assert len(ROWS) > 30
    assert all(len(row) == 3 for row in ROWS)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip("| "))
def test_line_runs(row):
    names = {}
    exec(SETUP, names)
    (line,) = re.findall(r"`(.*)`", row[-1])
    eval(line, names)
