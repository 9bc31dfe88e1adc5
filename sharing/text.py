"""Values of others, made fit for a terminal and for a page."""

import html
import re
from typing import Any

# What begins markup, mathematics, a link or a mention within a line. `&`, `<` and `>` become entities.
MARKUP = re.compile(r"[\\`*_\[\]|~$:@]|(?<=www)\.", re.IGNORECASE)


def printable(value: Any) -> str:
    """Return a value on one line, with escapes in place of control characters, so that a terminal only shows it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value))


def markdown(value: Any) -> str:
    """Return a value that a Markdown page or its YAML header shows as it is: no markup, no HTML, no link, one line."""
    return html.escape(MARKUP.sub(r"\\\g<0>", printable(value)), quote=False)
