"""`python -m text2digit VERB …`, where the command `text2digit` is not on the path."""

import sys

from text2digit.cli import main

if __name__ == "__main__":
    sys.exit(main())
