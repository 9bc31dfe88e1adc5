"""Values of others, made fit for a terminal and for a page."""

import html
import re
from typing import Any

from ..runtime import printable

# What begins markup, mathematics, a link or a mention within a line. `&`, `<` and `>` become entities.
MARKUP = re.compile(r"[\\`*_\[\]|~$:@]|(?<=www)\.", re.IGNORECASE)


def markdown(value: Any) -> str:
    """Return a value that a Markdown page or its YAML header shows as it is: no markup, no HTML, no link, one line."""
    return html.escape(MARKUP.sub(r"\\\g<0>", printable(value)), quote=False)
