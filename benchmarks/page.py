"""What benchmarks keep: files of results that are gone on with, and the page, whose tables they write."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent / "README.md"


def read_results(path: Path) -> list[dict[str, Any]]:
    """What a file of results has; nothing where there is no file yet."""
    return json.loads(path.read_text(encoding="utf-8"))["results"] if path.is_file() else []


def write_results(path: Path, facts: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> None:
    """Keep results, below what they were measured with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**facts, "results": results}, indent=1) + "\n", encoding="utf-8")


def marked(name: str, table: str) -> str:
    """A table between the marks that it is found by."""
    return f"<!-- {name} -->\n{table}<!-- /{name} -->\n"


def write_table(name: str, table: str, page: Path = PAGE) -> None:
    """Put a table in the place of the one that stands between its marks.

    Raises:
        ValueError: a page without these marks.
    """
    start, end = marked(name, "|").split("|")
    text = page.read_text(encoding="utf-8")
    before, found, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{page}: expected a line {start.strip()} and after it {end.strip()}, between which to write.")
    page.write_text(before + marked(name, table) + after, encoding="utf-8")
