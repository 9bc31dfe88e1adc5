"""Results of measurements, kept in files, and the tables of pages that are made from them."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


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


def measure_apart(module: str, name: str, *arguments: str) -> dict[str, Any]:
    """Return what `python -m MODULE --measure NAME` prints as JSON: a measurement in a process of its own."""
    command = [sys.executable, "-m", module, "--measure", name, *arguments]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


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
