"""The page of the benchmarks, whose tables are written by those who measure."""

from pathlib import Path

PAGE = Path(__file__).resolve().parent / "README.md"


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
