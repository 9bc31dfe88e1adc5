"""Numbers in numerals, English, Roman and Korean to their digits.

word2number and its kin know no Korean, korean-number and its kin no English, and none says why something is no number;
both languages follow one grammar, which is small, and tested against num2words, which spells both.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from .words import ENGLISH_ORDINALS, ENGLISH_WORDS, KOREAN_ORDINALS, NATIVE_KOREAN, NUMERAL_ORDINALS, SINO_KOREAN

MAX_DIGITS = 20
# What spells a number of so many digits has fewer characters; longer texts are refused unread.
MAX_SPELLED = 300
TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_UNITS = (ENGLISH_WORDS, ENGLISH_ORDINALS, NUMERAL_ORDINALS)
_BELOW_10 = {word: i for words in (*_UNITS, ("nought",), ("oh",)) for i, word in enumerate(words)}
BELOW_100 = _BELOW_10 | {w: i for i, w in enumerate(TEENS, 10)} | {w: 10 * i for i, w in enumerate(TENS, 2)}
_LARGE = ("thousand", "million", "billion", "trillion", "quadrillion", "quintillion")
_CARDINALS = (*TEENS, *TENS, "hundred", *_LARGE)
CARDINAL_OF = {re.sub("y$", "ie", word).replace("twelve", "twelf") + "th": word for word in _CARDINALS}
ENGLISH = {*BELOW_100, *_CARDINALS, *CARDINAL_OF, "dozen"}

SINO = {word: i for i, word in enumerate(SINO_KOREAN)} | {"공": 0, "령": 0, "륙": 6}
_STEMS = [ordinal.split()[0] for ordinal in KOREAN_ORDINALS]
NATIVE = {word: i for words in (NATIVE_KOREAN, _STEMS) for i, word in enumerate(words) if i} | {"한": 1}
_NATIVE_TENS = ("열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")
NATIVE_TENS = {word: 10 * i for i, word in enumerate(_NATIVE_TENS, 1)} | {"스무": 20}
_NATIVE_WORD = re.compile(f"({'|'.join(NATIVE_TENS)})?({'|'.join(sorted(NATIVE, key=len, reverse=True))})?")

# Within a group, and between groups: what a digit, and what a group, is multiplied with.
PLACES = {"hundred": 100, "십": 10, "백": 100, "천": 1000}
_KOREAN_SCALES = {"만": 10**4, "억": 10**8, "조": 10**12, "경": 10**16}
SCALES = {**{word: 1000**i for i, word in enumerate(_LARGE, 1)}, "dozen": 12, **_KOREAN_SCALES}
_SINO_WORD = re.compile(f"[{''.join(SINO)}십백천만억조경0-9]+")

_ROMAN = re.compile("m{0,3}(cm|cd|d?c{0,3})(xc|xl|l?x{0,3})(ix|iv|v?i{0,3})")
ROMAN_VALUES = {"m": 1000, "d": 500, "c": 100, "l": 50, "x": 10, "v": 5, "i": 1}


def cut_middle(text: str, longest: int = 60) -> str:
    """Quote a text for a message, without its middle where it is long."""
    half = longest // 2
    return repr(text) if len(text) <= longest else f"{text[:half]!r} … {text[-half:]!r}"


@lru_cache  # as `parse_number`
def is_number_word(word: str) -> bool:
    """Whether a lower-case word, without punctuation around it, can be a part of a number."""
    return word in ENGLISH or word.isdecimal() or is_roman(word) or (not word.isascii() and _parse([word]) is not None)


def is_roman(word: str) -> bool:
    """Lower-case Roman numerals; of single letters i, v and x alone, for the others are letters first."""
    return bool(word) and word not in ("l", "c", "d", "m") and bool(_ROMAN.fullmatch(word))


def ends_in_unit(word: str) -> bool:
    """Whether a number word is a power of ten, or a Korean one ends in one, so that digits may follow: "2천 26"."""
    return any(unit in PLACES or unit in SCALES for unit in (word, word[-1:]))


def korean_numbers(word: str, start: int) -> list[int]:
    """Where a number that begins at `start` of a Korean word may end.

    The last two letters of one may be something else, such as the particle in "7이".
    """
    stops = []
    if (native := _NATIVE_WORD.match(word, start)) and native.group():
        stops.append(native.end())
    if not start or not _SINO_WORD.match(word, start - 1):
        longest = found.end() if (found := _SINO_WORD.match(word, start)) else start
        stops += [
            stop for stop in range(max(start, longest - 3) + 1, longest + 1) if _parse([word[start:stop]]) is not None
        ]
    return stops


_GROUPED = re.compile(r"\d{1,3}(,\d{3})+,?")


@lru_cache  # a prompt may say one number thousands of times
def parse_number(text: str) -> tuple[int, ...]:
    """The digits of a whole number, from the left.

    Zeros in front are kept: "007" has three digits. Digits may be read out one by one, "two zero two six", and years in
    pairs, "twenty twenty six".

    Args:
        text: such as "2026", "2,026", "three hundred and five", "XIV", "이천이십육", "이공이육" or "스물셋".

    Raises:
        ValueError: it is no number, has a sign or a fraction, or has more than `MAX_DIGITS` digits.
    """
    words = text.lower().replace("-", " ").split() if not re.match(r"\s*-", text) else []
    words = [word.replace(",", "") if _GROUPED.fullmatch(word) else word.rstrip(",") for word in words]
    digits = _parse(words)
    if digits is None:
        raise no_number(text)
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"number: got {cut_middle(text)} of {len(digits)} digits, expected at most {MAX_DIGITS}.")
    return digits


def no_number(shown: str) -> ValueError:
    """The error of what is no whole number."""
    examples = "2026, 'three hundred and five', XIV, '이천이십육' or '스물셋'"
    return ValueError(f"number: got {cut_middle(shown)}, expected a whole number from 0 up, such as {examples}.")


def _parse(words: Sequence[str]) -> tuple[int, ...] | None:
    joined = "".join(words)
    if joined.isascii() and joined.isdecimal():
        return tuple(map(int, joined))
    if not joined or len(joined) > MAX_SPELLED or "and" in (words[0], words[-1]):
        return None
    if len(words) == 1 and is_roman(joined) and joined not in ENGLISH:
        return _digits(_roman_value(joined))
    if native := _NATIVE_WORD.fullmatch(joined):
        return _digits(NATIVE_TENS.get(native[1], 0) + NATIVE.get(native[2], 0))
    if _SINO_WORD.fullmatch(joined):
        parts = re.findall("[0-9]+|.", joined)
        return tuple(SINO[part] for part in parts) if set(parts) <= set(SINO) else _digits(_value(parts))
    parts = [CARDINAL_OF.get(word, word) for word in words if word != "and"]
    values = [int(part) if part.isdecimal() else BELOW_100.get(part, 10) for part in parts]
    if max(values) < 10:  # read out one by one
        return tuple(values)
    value = _value(parts)
    return _digits(_year(parts) if value is None else value)


def _digits(value: int | None) -> tuple[int, ...] | None:
    return None if value is None else tuple(map(int, str(value)))


def _roman_value(word: str) -> int:
    values = [ROMAN_VALUES[letter] for letter in word]
    return sum(-v if v < max(values[i:]) else v for i, v in enumerate(values))


def _year(parts: Sequence[str]) -> int | None:
    """The value of two numbers below 100 that are read as one: "twenty twenty six", "nineteen oh five"."""
    for i in (1, 2):
        zero = parts[i : i + 1] in (["oh"], ["zero"])
        century, rest = _value(parts[:i]), _value(parts[i + zero :])
        if century and rest and 10 <= century < 100 and (rest < 10 if zero else 10 <= rest < 100):
            return 100 * century + rest
    return None


def _value(parts: Sequence[str]) -> int | None:
    """The value of a cardinal: groups with their scales, from large to small, and in a group digits with their places.

    `room` is what the parts so far leave below: after "three hundred" there is room for less than 100.
    """
    total, group, digit, room, largest = 0, 0, None, 10**4, 10**21  # type: int, int, int | None, int, int
    for before, part in zip(["", *parts], parts, strict=False):
        if part in SCALES:
            number = group + (digit or 0) if group or digit is not None else (part not in "억조경")
            if not 0 < number * SCALES[part] < largest:
                return None
            total, group, digit, room, largest = total + number * SCALES[part], 0, None, SCALES[part], SCALES[part]
        elif part in PLACES:
            number = 1 if digit is None else digit
            if not 0 < number < 100 or number * PLACES[part] >= room:
                return None
            group, digit, room = group + number * PLACES[part], None, PLACES[part]
        else:
            value = int(part) if part.isdecimal() else 1 if part == "a" else BELOW_100.get(part, SINO.get(part))
            if value is None or value >= room or (digit is not None and not (before in TENS and 0 < value < 10)):
                return None
            digit = (digit or 0) + value
    return total + group + (digit or 0)
