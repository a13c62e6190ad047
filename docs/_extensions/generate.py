"""Write the pages that are made from the package: rules, reference, and explained networks.

`generate.py FOLDER` is a process of its own, so that the one that builds the site never loads JAX
and may fork.
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import api_pages
import explained
import rule_pages


def main(docs: Path) -> None:
    """Write all pages, on two processes."""
    found = rule_pages.pages()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        others = [pool.submit(module.write_pages, docs) for module in (explained, api_pages)]
        reports = dict(zip(found, pool.map(rule_pages.verified, found), strict=True))
        for other in others:
            other.result()
    rule_pages.write_pages(docs, reports)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
