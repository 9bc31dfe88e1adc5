"""From a prompt to its words: each as captions and numbers spell it, and what it does in a sentence."""

import functools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from .numbers import ENGLISH, TENS, cut_middle, is_number_word, is_roman, korean_numbers, parse_number
from .ordinary import ORDINARY
from .synonyms import KINDS, LEANING, NO_NUMBERS, PRONOUNS, SUFFIXES, SYNONYMS, entries
from .words import ENGLISH_WORDS, FILLERS, INFLECTED, PARTICLES, PHRASE_OF, PHRASES, SAID, SLIGHTLY, VERY, words_in

# Characters of a prompt, and of a word in it.
MAX_PROMPT, MAX_WORD = 10_000, 100
# Words in which a typo is mended: long enough not to be another.
MENDED = re.compile("[a-z]{4,}")
_HANJA = str.maketrans("零〇一二三四五六七八九十百千萬万億亿", "영영일이삼사오육칠팔구십백천만만억억")
_POWER = re.compile("(?<=\\d)(?=[²³¹⁰⁴-⁹])")
# "no." for number, a sign before one, a hyphen between words, and "two-digit", which says no number.
_REWRITTEN = (
    (re.compile("\\bn[or]\\.(?=\\s*\\d)", re.IGNORECASE), " number "),
    (re.compile("(?<![\\w)])[-−](?=\\d)"), " negative "),
    (re.compile("(?<=[^\\W\\d])-(?=\\w)|(?<=\\w)-(?=[^\\W\\d])"), " "),
    (re.compile("\\b(\\d+|two|three|four|five|six) digit\\b", re.IGNORECASE), "\\1 times"),
)
_PIECE = re.compile(
    "\\d{1,3}(?:,\\d{3})+(?![\\d,]|\\.\\d)|\\d+(?:[.:/^⁄]\\d+)+|(?<![\\w.])\\.\\d+|"
    "\\d*[가-힣][가-힣\\d]*|[^\\W_가-힣]+(?:'[^\\W\\d_]+)*|[^\\w\\s]|_"
)
_NUMERAL = re.compile("(\\d[\\d,]*)(?:('?s|st|nd|rd|th)|(cm|mm|km|kg|px|pt))?")
_SILENT_MARKS = set(".!?;:\"'“”‘’)[]{}…*#_=")


@dataclass
class Token:
    """A word of a prompt: as captions and numbers spell it, as it was written, and what it does, of `KINDS`.

    What is left out has no `word`; the second of two words that stand for one has no `raw`.
    """

    word: str
    raw: str
    kind: str = "f"
    digits: tuple[int, ...] = ()


def language_of(text: str) -> str:
    """The language of a text: "ko" if it has Korean letters, else "en"."""
    return "ko" if any("가" <= character <= "힣" for character in text) else "en"


def _meaning(phrase: str, entry: str) -> str:
    """A caption's phrase, in the language of the entry that means it."""
    degree, _, plain = phrase.partition(" ")
    language = language_of(entry)
    if degree in _DEGREES:
        return f"{_DEGREES[degree][language][0]} {_meaning(plain, entry)}".strip()
    name, side = PHRASE_OF.get(phrase, ("", 0))
    return PHRASES["ko"][name][side + 1][0] if name and language == "ko" else phrase


def _inflected(word: str, meaning: str) -> dict[str, str]:
    """Forms of an English adjective, and what they mean."""
    stem = word[:-1] + "i" * (word[-1] == "y") if word[-1] in "ey" else word
    if re.fullmatch("[^aeiou]*[aeiou][tmngd]", word):
        stem += word[-1]
    forms = {f"{stem}er": "", f"{word}ly": "", f"{stem}est": "very ", f"{stem}ish": "slightly "}
    return {form: degree + meaning for form, degree in forms.items()}


def _lexicon() -> dict[str, str]:
    """Map what people write, one word or several, to what captions say for it."""
    found = {entry: _meaning(phrase, entry) for phrase, words in SYNONYMS.items() for entry in entries(words)}
    for word, meaning in {**{phrase: phrase for phrase in PHRASE_OF}, **found}.items():
        if word.isascii() and word.isalpha() and len(word) < 9 and PHRASE_OF.get(meaning, ("", 0))[1]:
            found |= {form: means for form, means in _inflected(word, meaning).items() if form not in found}
    for side in ("left", "right"):
        for verb in LEANING.split():
            texts = (f"{verb} {side}", f"{verb} to the {side}", f"{verb} towards the {side}", f"{side} {verb}")
            found |= {text: f"{side} leaning" for text in texts if text not in PHRASE_OF}
    found |= {word[:-1] + end: found[word] for word in [*found] if word.endswith("한") for end in ("하고", "하게")}
    found |= INFLECTED | {tens + unit: f"{tens} {unit}" for tens in TENS for unit in ENGLISH_WORDS[1:]}
    found |= {"fourty": "forty", "ninty": "ninety", "eigth": "eight", "twelth": "twelfth", "half a dozen": "6"}
    return {word: means for word, means in found.items() if word not in KNOWN} | {word: word for word in KIND_OF}


def deletions(word: str) -> set[str]:
    """The word, and the word without each of its letters; words that one mistake parts share one of these."""
    return {word, *(word[:i] + word[i + 1 :] for i in range(len(word)))}


def _by_deletion() -> dict[str, list[str]]:
    """The English words that a typo may be taken for, by their deletions."""
    words = [word for word in {*KNOWN, *LEXICON, *ENGLISH, *_PLURALS} if MENDED.fullmatch(word) and not is_roman(word)]
    pairs = sorted((deletion, word) for word in words for deletion in deletions(word))
    return {deletion: [word for _, word in group] for deletion, group in groupby(pairs, itemgetter(0))}


_DEGREES = {"very": VERY, "slightly": SLIGHTLY}
UNSAID = words_in(*FILLERS.values()) - SAID
KNOWN = SAID | UNSAID
KIND_OF = {word: kind for kind, words in KINDS.items() for word in entries(words)}
LEXICON = _lexicon()
_PLURALS = {form: word for word in ENGLISH for form in (f"{word}s", f"{word}es", f"{word[:-1]}ies")}
MENDABLE = _by_deletion()
_FIRST_OF_SEVERAL = {text.split()[0] for text in LEXICON if " " in text}
_MOST_WORDS = max(text.count(" ") for text in LEXICON) + 1
_ENDINGS = {*PARTICLES, *words_in(SUFFIXES), *words_in(KINDS["K"])}
_KOREAN = {word for word in KNOWN | set(LEXICON) if language_of(word) == "ko" and not is_number_word(word)}
# First letter of what may be a part of a Korean word: lengths of these parts, longer ones first.
_LENGTHS = {
    first: sorted({len(part) for part in parts}, reverse=True)
    for first, parts in groupby(sorted(_KOREAN | _ENDINGS), itemgetter(0))
}


def tokens_of(prompt: str) -> tuple[list[Token], dict[str, str]]:
    """The words of a prompt, and those that were taken for others.

    Raises:
        ValueError: it is too long, has too long a word, or something like a number that is none.
    """
    text = _normalized(prompt)
    for pattern, by in _REWRITTEN:
        text = pattern.sub(by, text)
    pieces, i = _PIECE.findall(text), 0
    words = [piece.lower() for piece in pieces]
    tokens: list[Token] = []
    corrected: dict[str, str] = {}
    while i < len(pieces):
        counts = range(_MOST_WORDS, 1, -1) if words[i] in _FIRST_OF_SEVERAL else ()
        count = next((count for count in counts if " ".join(words[i : i + count]) in LEXICON), 1)
        tokens += _spelled(" ".join(words[i : i + count])) if count > 1 else _token(pieces[i], corrected)
        i += count
    return tokens, corrected


def _normalized(prompt: str) -> str:
    """The prompt in normal form NFKC, word by word, for over a long run of accents that takes quadratic time.

    Decimal digits are ASCII, Chinese numerals Korean; accents that stand alone and what is invisible are left out.
    """
    _check_length(prompt, 4)  # a syllable may be three characters that become one
    words = _POWER.sub("^", prompt).replace("№", " number ").split()
    text = " ".join(unicodedata.normalize("NFKC", word) for word in words)
    _check_length(text, 1)
    kept = [c for c in text.translate(_HANJA) if unicodedata.category(c) not in ("Mn", "Me", "Cf")]
    return "".join(str(int(c)) if c.isdecimal() else c for c in kept).replace("’", "'")


def _check_length(text: str, times: int) -> None:
    """Refuse what is longer than so many times the bounds.

    Raises:
        ValueError: it is.
    """
    longest = max(text.split(), key=len, default="")
    if len(text) > times * MAX_PROMPT or len(longest) > times * MAX_WORD:
        got = f"{len(text):,} characters, the longest word {cut_middle(longest)} of {len(longest):,}"
        raise ValueError(f"prompt: got {got}; expected at most {MAX_PROMPT:,} and {MAX_WORD}. Pass a list of prompts.")


def _spelled(entry: str) -> list[Token]:
    meaning = LEXICON.get(entry, entry)
    words = [meaning] if meaning in KIND_OF else meaning.split()
    kinds = [KIND_OF.get(word, "N" if is_number_word(word) else "f") for word in words]
    return [Token(word, entry * (j == 0), kinds[j]) for j, word in enumerate(words)]


def _token(piece: str, corrected: dict[str, str]) -> list[Token]:
    """The token of one word or mark, or several of what is written together."""
    word = piece.lower()
    if numeral := _NUMERAL.fullmatch(word):
        digits, ending, unit = numeral.groups()
        digits = word if word in ENGLISH else digits.replace(",", "")  # captions have "7th"
        number = Token(digits, word, "P" if (ending or "").endswith("s") else "N")
        return [number, Token("", unit, "u")] if unit else [number]
    if is_number_word(word):
        is_word = word in ORDINARY and not piece.isupper()
        if word in ENGLISH or not is_roman(word):
            return [Token(word, piece, "W" if is_word or word in PRONOUNS else "N")]
        if not is_word:
            return [Token(word, piece, "W")]  # a Roman numeral counts where there is no other number
    if word in LEXICON or word in KNOWN:
        return _spelled(word)
    if word in _PLURALS:
        return [Token(_PLURALS[word], word, "W" if word == "ones" else "P")]
    if word in ORDINARY or word in NO_NUMBERS:
        return [Token("", word, "u")]
    if language_of(word) == "ko" and (parts := _korean_parts(word)) is not None:
        return [token for part, kind in parts for token in _korean_token(part, kind)]
    if any(character.isdecimal() for character in word):
        parse_number(word)  # says why it is no number
    if not piece[0].isalnum():
        return [Token("", piece, "," if piece == "," else "u")] if piece not in _SILENT_MARKS else []
    if not (mended := _closest(word)):
        return [Token("", word, "u")]
    corrected[word] = mended
    tokens = _token(mended, corrected)
    tokens[0].raw = word
    return tokens


def _korean_parts(word: str) -> tuple[tuple[str, str], ...] | None:
    """The parts of a word that are written together, as (part, kind), or None: from the end, so each is found once."""
    best: list[tuple[tuple[str, str], ...] | None] = [*[None] * len(word), ()]
    for start in reversed(range(len(word))):
        for stop, kind in _parts_at(word, start):
            rest, here = best[stop], best[start]
            if rest and kind == "number" and rest[0][1] == "number":  # "20세"
                rest = ((rest[0][0], "ending"), *rest[1:]) if rest[0][0] in _ENDINGS else None
            if rest is not None and (here is None or len(rest) + 1 < len(here)):
                best[start] = ((word[start:stop], kind), *rest)
    return best[0]


def _parts_at(word: str, start: int) -> Iterator[tuple[int, str]]:
    """Where parts that begin at `start` may end, and their kind: "number", "ending" or "word"; longer ones first."""
    if start and word[start:] in PARTICLES:
        yield len(word), "ending"
    for stop in korean_numbers(word, start):
        yield stop, "number"
    for length in _LENGTHS.get(word[start], ()):
        stop, part = start + length, word[start : start + length]
        if stop > len(word):
            continue
        if start and part in _ENDINGS:
            yield stop, "ending"
        elif part in _KOREAN and (start or part not in _ENDINGS or word[stop:] in {"", *PARTICLES}):
            yield stop, "word"


def _korean_token(part: str, kind: str) -> list[Token]:
    if kind == "word":
        return _spelled(part)
    number = Token(part, part, "NW"[part in PRONOUNS])
    return [number if kind == "number" else Token("", part, KIND_OF.get(part, "e"))]


@functools.lru_cache(maxsize=10_000)
def _closest(word: str) -> str | None:
    """The known English word that a typo is taken for; none for a short or ordinary word, or between two numbers."""
    if not MENDED.fullmatch(word):
        return None
    near = {known for deletion in deletions(word) for known in MENDABLE.get(deletion, ())}
    if len(near & ENGLISH) > 1:
        return None
    return min(
        near, key=lambda known: (known in UNSAID, known in _PLURALS, abs(len(known) - len(word)), known), default=None
    )
