"""What it costs and what it is worth, beside others, dated; no part of the library imports this."""
