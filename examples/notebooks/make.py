"""Makes the notebooks of examples/ from the scripts beside this file: `python examples/notebooks/make.py`.

A line `# %%` begins a cell of code, `# %% [markdown]` one of text, whose lines are comments. The notebooks hold
no results.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if path.name != "make.py")


def cells(script: str) -> list[tuple[str, str]]:
    """Return the cells of a script: "markdown" or "code", and the text."""
    parts = re.split(r"^# %%( \[markdown\])?\n", script, flags=re.MULTILINE)
    if parts[0].strip():
        raise ValueError(f"a script must begin with # %%; got {parts[0][:50]!r}")
    found = []
    for mark, text in zip(parts[1::2], parts[2::2], strict=True):
        if mark:
            text = re.sub(r"^# ?", "", text, flags=re.MULTILINE)
        found.append(("markdown" if mark else "code", text.strip("\n")))
    return found


def notebook(script: str) -> str:
    """Return the notebook of a script, as JSON."""
    made = []
    for number, (kind, text) in enumerate(cells(script)):
        cell = {
            "cell_type": kind,
            "id": f"cell-{number}",
            "metadata": {},
            "source": text.splitlines(True),
        }
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        made.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    content = {"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def path_of(script: Path) -> Path:
    """Return the path of the notebook of a script."""
    return FOLDER.parent / f"{script.stem}.ipynb"


if __name__ == "__main__":
    for script in SCRIPTS:
        path_of(script).write_text(notebook(script.read_text()), encoding="utf-8")
