"""Tables of pages: how they are written, found, and put in the place of the ones before."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def markdown_table(head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table of cells that are shown as `str` does."""
    lines = ["|" + "".join(f" {cell} |" if cell != "" else " |" for cell in row) for row in (head, *rows)]
    lines.insert(1, "|---" * len(head) + "|")
    return "\n".join(lines) + "\n"


def new_figure(width: float, height: float, layout: Any = "constrained") -> Any:
    """A figure of matplotlib, in inches, that no window shows."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout=layout)


def marked(name: str, table: str) -> str:
    """A table between the marks that it is found by."""
    return f"<!-- {name} -->\n{table}<!-- /{name} -->\n"


def write_table(name: str, table: str, page: Path) -> None:
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
