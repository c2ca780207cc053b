"""Check that the documentation has every page: ``check_docs.py doc/_build/html``.

A build can end with exit status 0 and no pages, if an example ends the process.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def api_pages():
    """Yield the page of each name in the summaries of doc/api.rst."""
    module = ""
    for line in (ROOT / "doc" / "api.rst").read_text().splitlines():
        if line.startswith(".. currentmodule::"):
            module = line.split()[-1]
        elif name := re.fullmatch(r"   ([\w.]+)", line):
            yield f"api/generated/{module}.{name[1]}.html"


def pages():
    """Yield all pages that must be there."""
    yield from ("index.html", "api.html", "gallery/index.html")
    for page in (ROOT / "doc").glob("user_guide/*.rst"):
        yield f"user_guide/{page.stem}.html"
    for example in (ROOT / "examples").rglob("*.py"):
        yield f"gallery/{example.relative_to(ROOT / 'examples').with_suffix('.html')}"
    yield from api_pages()


def main(html):
    """Print what is missing in a folder; return whether anything is."""
    wanted = list(pages())
    missing = [page for page in wanted if not (html / page).is_file()]
    without_example = [
        page
        for page in set(wanted) - set(missing)
        if page.startswith("api/") and "&gt;&gt;&gt;" not in (html / page).read_text()
    ]
    for page in missing:
        print(f"missing: {page}")
    for page in without_example:
        print(f"without an example: {page}")
    print(f"{len(wanted) - len(missing)} of {len(wanted)} pages")
    return bool(missing or without_example)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
