"""Numbers in numerals, English, Roman and Korean to their digits.

word2number and its kin know no Korean, korean-number and its kin no English, and none says why something is no number;
the two grammars are small, and tested against num2words, which spells both.
"""

import re
from collections.abc import Sequence

from .words import ENGLISH_ORDINALS, ENGLISH_WORDS, KOREAN_ORDINALS, NATIVE_KOREAN, NUMERAL_ORDINALS, SINO_KOREAN

MAX_DIGITS = 20
# What spells a number of so many digits has fewer words and characters; longer runs are refused unread.
MAX_SPELLED = 300
TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
UNITS = {
    **{word: i for words in (ENGLISH_WORDS, ENGLISH_ORDINALS, NUMERAL_ORDINALS) for i, word in enumerate(words)},
    "oh": 0,
    "nought": 0,
}
BELOW_100 = {
    **UNITS,
    **{word: 10 + i for i, word in enumerate(TEENS)},
    **{word: 20 + 10 * i for i, word in enumerate(TENS)},
}
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
ENGLISH = {*BELOW_100, *SCALES, "hundred"}

SINO = {**{word: i for i, word in enumerate(SINO_KOREAN)}, "공": 0, "령": 0, "륙": 6}
NATIVE = {word: i for i, word in enumerate(NATIVE_KOREAN) if i} | {
    ordinal.split()[0]: i for i, ordinal in enumerate(KOREAN_ORDINALS) if i
}
_NATIVE_TENS = ("열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")
NATIVE_TENS = {word: 10 * (i + 1) for i, word in enumerate(_NATIVE_TENS)}
SMALL_UNITS = {"십": 10, "백": 100, "천": 1000}
LARGE_UNITS = {"만": 10**4, "억": 10**8, "조": 10**12}
_SINO_WORD = re.compile(f"[{''.join({**SINO, **SMALL_UNITS, **LARGE_UNITS})}0-9]+")
_NATIVE_WORD = re.compile(f"({'|'.join(NATIVE_TENS)})?({'|'.join(sorted(NATIVE, key=len, reverse=True))})?")

_ROMAN = re.compile("m{0,3}(cm|cd|d?c{0,3})(xc|xl|l?x{0,3})(ix|iv|v?i{0,3})")
ROMAN_VALUES = {"m": 1000, "d": 500, "c": 100, "l": 50, "x": 10, "v": 5, "i": 1}


def cut_middle(text: str, longest: int = 60) -> str:
    """Quote a text for a message, without its middle where it is long."""
    half = longest // 2
    return repr(text) if len(text) <= longest else f"{text[:half]!r} … {text[-half:]!r}"


def is_number_word(word: str) -> bool:
    """Whether a lower-case word, without punctuation around it, can be a part of a number."""
    return word in ENGLISH or _is_numeral(word) or _is_roman(word) or _is_korean(word)


def parse_number(text: str | Sequence[str]) -> tuple[int, ...]:
    """The digits of a whole number, from the left.

    Zeros in front are kept: "007" has three digits. Digits may be read out one by one, "two zero two six", and years in
    pairs, "twenty twenty six".

    Args:
        text: such as "2026", "2,026", "three hundred and five", "XIV", "이천이십육", "이공이육" or "스물셋"; or the
            words of it.

    Raises:
        ValueError: it is no number, has a sign or a fraction, or has more than `MAX_DIGITS` digits.
    """
    shown = text if isinstance(text, str) else " ".join(text)
    words = shown.lower().replace("-", " ").split() if not re.match(r"\s*-", shown) else []
    words = [word.rstrip(",") for word in words]
    words = [word.replace(",", "") if re.fullmatch(r"\d{1,3}(,\d{3})+", word) else word for word in words]
    digits = _parse(words)
    if digits is None:
        raise ValueError(
            f"number: got {cut_middle(shown)}, expected a whole number from 0 up, such as 2026, "
            "'three hundred and five', XIV, '이천이십육' or '스물셋'."
        )
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"number: got {cut_middle(shown)} of {len(digits)} digits, expected at most {MAX_DIGITS}.")
    return digits


def _parse(words: Sequence[str]) -> tuple[int, ...] | None:
    if not words:
        return None
    if all(_is_numeral(word) for word in words):
        return tuple(int(character) for word in words for character in word)
    if sum(map(len, words)) > MAX_SPELLED or len(words) > MAX_SPELLED // 6:
        return None
    if len(words) == 1 and _is_roman(words[0]) and words[0] not in ENGLISH:
        return _digits(_roman_value(words[0]))
    if all(_is_numeral(word) or _is_korean(word) for word in words):
        return _korean("".join(words))
    return _english([word for word in words if word != "and"]) if words[0] != "and" and words[-1] != "and" else None


def _digits(value: int | None) -> tuple[int, ...] | None:
    return None if value is None else tuple(int(character) for character in str(value))


def _is_numeral(word: str) -> bool:
    return word.isascii() and word.isdecimal()


def _is_roman(word: str) -> bool:
    """Lower-case Roman numerals; of single letters i, v and x alone, for the others are letters first."""
    return bool(word) and word not in ("l", "c", "d", "m") and bool(_ROMAN.fullmatch(word))


def _roman_value(word: str) -> int:
    values = [ROMAN_VALUES[letter] for letter in word]
    return sum(-v if v < max(values[i:]) else v for i, v in enumerate(values))


def _english(words: Sequence[str]) -> tuple[int, ...] | None:
    values = [int(word) if _is_numeral(word) else BELOW_100.get(word) for word in words]
    if all(v is not None and v < 10 for v in values):  # read out one by one
        return tuple(v for v in values if v is not None)
    value = _english_value(words)
    if value is not None:
        return _digits(value)
    halves = [(_english_value(words[:i]), _english_value(words[i:])) for i in range(1, len(words))]
    years = [(a, b) for a, b in halves if a is not None and b is not None and 10 <= a < 100 and 10 <= b < 100]
    return _digits(100 * years[0][0] + years[0][1]) if len(years) == 1 else None


def _english_value(words: Sequence[str]) -> int | None:
    """Cardinals in order: thousands after millions, one number below 1,000 before each."""
    total, start, largest = 0, 0, 10**15
    for i, word in enumerate(words):
        if word in SCALES:
            group = _below_1000(words[start:i])
            if group is None or SCALES[word] >= largest:
                return None
            total, start, largest = total + group * SCALES[word], i + 1, SCALES[word]
    if start == len(words):
        return total if total else None
    rest = _below_1000(words[start:])
    return None if rest is None else total + rest


def _below_1000(words: Sequence[str]) -> int | None:
    if "hundred" in words:
        i = list(words).index("hundred")
        hundreds = 1 if words[:i] in ([], ["a"]) else _below_100(words[:i])
        rest = 0 if i + 1 == len(words) else _below_100(words[i + 1 :])
        return None if hundreds is None or rest is None or hundreds > 9 else 100 * hundreds + rest
    return 1 if words == ["a"] else _below_100(words)


def _below_100(words: Sequence[str]) -> int | None:
    if len(words) == 1 and _is_numeral(words[0]):
        return int(words[0]) if int(words[0]) < 1000 else None
    values = [BELOW_100.get(word) for word in words]
    if len(values) == 1:
        return values[0]
    if len(values) == 2 and words[0] in TENS and words[1] in UNITS and UNITS[words[1]]:
        return BELOW_100[words[0]] + UNITS[words[1]]
    return None


def _is_korean(word: str) -> bool:
    is_native = bool(_NATIVE_WORD.fullmatch(word))
    return bool(word) and not _is_numeral(word) and (is_native or bool(_SINO_WORD.fullmatch(word)))


def _korean(word: str) -> tuple[int, ...] | None:
    if native := _NATIVE_WORD.fullmatch(word):
        tens, unit = native.groups()
        return _digits(NATIVE_TENS.get(tens, 0) + NATIVE.get(unit, 0))
    characters = [SINO.get(c, int(c) if c.isdecimal() else None) for c in word]
    if all(c is not None for c in characters):  # read out one by one
        return tuple(c for c in characters if c is not None)
    return _digits(_sino_value(word))


def _sino_value(word: str) -> int | None:
    """Groups of four places, each before 조, 억 or 만; within a group 천, 백 and 십, each after its digit but 1."""
    total, largest = 0, 10**16
    for group, unit in re.findall(f"([^{''.join(LARGE_UNITS)}]*)([{''.join(LARGE_UNITS)}]|$)", word):
        if not group and not unit:
            continue
        scale = LARGE_UNITS.get(unit, 1)
        value = _below_10000(group) if group else 1
        if value is None or scale >= largest or (not group and unit != "만"):
            return None
        total, largest = total + value * scale, scale
    return total


def _below_10000(group: str) -> int | None:
    total, digit, largest, number = 0, None, 10**4, ""
    for character in group:
        if character in SMALL_UNITS:
            scale = SMALL_UNITS[character]
            if scale >= largest or digit == 0:
                return None
            total, largest = total + (1 if digit is None else digit) * scale, scale
            digit, number = None, ""
        elif character.isdecimal():
            number += character
            digit = int(number)
        elif digit is None:
            digit = SINO.get(character)
            if digit is None:
                return None
        else:
            return None
    if digit is not None and digit >= largest:
        return None
    return total + (digit or 0)
