"""What a release says of itself: one version everywhere, and a page that a package index can show."""

import re
from importlib.metadata import distribution

import densegrad
from builds import ROOT


def test_one_version_everywhere() -> None:
    version = densegrad.__version__
    assert f'\nversion = "{version}"\n' in (ROOT / "pyproject.toml").read_text()
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    changelog = (ROOT / "CHANGELOG.md").read_text()
    sections = re.findall(r"^## \[(.+?)\](?: - (.+))?$", changelog, re.MULTILINE)
    assert sections[0] == ("Unreleased", "")
    assert sections[1][0] == version
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d|not released yet", date) for _, date in sections[1:])
    released = [date for _, date in sections[2:]]
    assert "not released yet" not in released


def test_the_page_of_a_package_index_has_no_dead_links() -> None:
    _, _, page = (distribution("densegrad").read_text("METADATA") or "").partition("\n\n")
    assert page.startswith("# densegrad\n")
    assert len(page) > 2000
    links = re.findall(r"\]\(([^)]*)\)", page)
    assert [link for link in links if not link.startswith("https:")] == []
    assert "$`" not in page
