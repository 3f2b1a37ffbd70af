"""Checks that every link inside a built site leads to a page and its anchor: check_links.py FOLDER."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the attributes that lead elsewhere, and those that can be led to."""
        for name, value in attrs:
            if value and name in ("href", "src"):
                self.links.append(value)
            elif value and name in ("id", "name"):
                self.anchors.add(value)


def main() -> None:
    """Print what leads nowhere, and end with an error if there is any."""
    site = Path(sys.argv[1]).resolve()
    # The theme keeps a template of its own among its static files.
    pages = {path: Page(path) for path in site.rglob("*.html") if site / "_static" not in path.parents}
    count, broken = 0, []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            count += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchors = pages[target].anchors if target in pages else set()
            if not target.is_file() or (parts.fragment and unquote(parts.fragment) not in anchors):
                broken.append(f"{path.relative_to(site)}: {link}")
    print(f"{len(pages)} pages with {count} links inside the site, {len(broken)} of them broken")
    if not pages or broken:
        sys.exit("\n".join(broken) or f"{site} has no pages")


if __name__ == "__main__":
    main()
