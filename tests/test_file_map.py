"""The file map in CONTRIBUTING.md names every file, and only files that exist."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
MAP = PAGE[PAGE.index("## Map") : PAGE.index("## Public modules")]


def mapped() -> set[str]:
    """Paths in the first column of the tables, from the root; a folder ends with a slash."""
    found: set[str] = set()
    for section in MAP.split("\n### ")[1:]:
        heading, *lines = section.splitlines()
        folders = re.findall(r"`([\w./]+/)`", heading)
        base = folders[0] if len(folders) == 1 else ""
        for line in lines:
            if line.startswith("| `"):
                found |= {base + name for name in re.findall(r"`([^`]+)`", line.split("|")[1])}
    return found


def test_the_map_is_complete() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("needs git's list of files")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = {name for name in listed.splitlines() if not name.endswith("CONTRIBUTING.md")}
    names = mapped()
    folders = tuple(name for name in names if name.endswith("/"))
    missing = {
        name for name in files - names if not name.startswith(folders) and not name.endswith("__init__.py")
    }
    assert not missing, f"give these a line in the map of CONTRIBUTING.md: {sorted(missing)}"
    strangers = {name for name in names if not (ROOT / name).exists()}
    assert not strangers, f"the map of CONTRIBUTING.md names what does not exist: {sorted(strangers)}"
