"""Check the links of a built site: each page and each anchor is there, and nothing comes from afar.

`links.py FOLDER`
"""

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser loads by itself, in contrast to links that a reader follows.
LOADED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("link", "href"), ("source", "src")}
# Links of a page to itself at another place, and feeds, load nothing.
NOT_LOADED = {"canonical", "alternate", "next", "prev", "index", "search", "author"}


class Page(HTMLParser):
    """The links of a page, those that a browser follows by itself, and its anchors."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the links and the anchors of an element."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        for name in ("href", "src"):
            if name in given:
                self.links.append(given[name])
                is_hint = bool(NOT_LOADED & set(given.get("rel", "").split()))
                if (tag, name) in LOADED and not is_hint:
                    self.loaded.append(given[name])


def broken(folder: Path) -> Iterator[str]:
    """Yield a line for each link that leads nowhere, and each thing that is loaded from afar."""
    found = sorted(path for path in folder.rglob("*.html") if "_static" not in path.parts)
    pages = {path: Page(path.read_text()) for path in found}
    for path, page in pages.items():
        where = path.relative_to(folder)
        yield from (f"{where} loads {url}" for url in page.loaded if urlsplit(url).netloc)
        for link in page.links:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path.resolve()
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                yield f"{where}: there is no {link}"
            elif url.fragment and target in pages and target.suffix == ".html":
                # the pages of `explain` keep their state in the address
                known = pages[target].anchors
                if unquote(url.fragment) not in known and not target.name.startswith("explain-"):
                    yield f"{where}: there is no {link}"


def main(folder: Path) -> int:
    """Print what is broken; return the exit status."""
    pages = len(list(folder.rglob("*.html")))
    if not pages:
        print(f"{folder} has no page")
        return 1
    found = [*broken(folder.resolve())]
    print("\n".join([*found, f"{pages} pages, {len(found)} broken links"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
