"""The numbers among the words of a prompt: which one is meant, how often it is drawn, and which questions are open.

The letters of `KINDS`, one for each word, spell what a prompt does; patterns over them are the grammar.
"""

import math
import re
from collections.abc import Sequence

from .lexicon import KNOWN, UNSAID, Token
from .numbers import ENGLISH, MAX_SPELLED, NATIVE, NATIVE_TENS, cut_middle, ends_in_unit, no_number, parse_number
from .synonyms import PRONOUNS

MAX_COPIES = 100
# A word that looks like a number, and is not one of a list such as "one, two".
_PRONOUN = re.compile("(?<![NPW][,oat])W(?![,oat][NPW])")
_NOT_WHOLE = re.compile("hf?[NPW]|(?<![NPW])-[NPW]|[NPW][af]{0,2}h")
# "two thick 3s", "three copies", "7 two times"; "7 두 개"; and "one 7" of two notations.
_COUNT = re.compile("[NW](?=[efuvlm]*(?:P|C|X(?!f?[NP])))|[NW](?=K)|N(?=[NP](?![KX]))")
_NEGATED = re.compile("![fwC]*[NPW](?:[oa]f*[NP])*|[NPW]e*k")


def find_number(tokens: list[Token], prompt: str) -> tuple[int | None, int, list[tuple[str, str]]]:
    """The one number that is meant; the tokens of each number become one.

    Returns:
        Its index among the tokens, or None; how many images of it; what looks like a number and is left out, and why.

    Raises:
        ValueError: it is no whole number, or the words leave open which number it is; the message asks.
    """
    tokens[:] = _merged(tokens)
    code = "".join(token.kind for token in tokens)
    if part := _NOT_WHOLE.search(code):
        raise no_number(_as_written(tokens[part.start() : part.end()]))
    numbers = [i for i, kind in enumerate(code) if kind in "NPW"]
    for i in numbers:
        tokens[i].digits = parse_number(tokens[i].word)
    counts = {i for i in numbers if _COUNT.match(code, i) and (code[i + 1] != "N" or _number_of(tokens[i]) == 1)}
    if counts >= set(numbers) and "K" in code and not any(token.word in ("숫자", "그림") for token in tokens):
        counts = set()  # "세 개" alone is the number
    words = [match.start() for match in _PRONOUN.finditer(code) if match.start() not in counts]
    if not any(code[i] in "NP" for i in numbers if i not in counts):
        del words[-1:]
    left = [(tokens[i].raw, "no number here") for i in words if tokens[i].word not in KNOWN | PRONOUNS]
    copies = math.prod([_number_of(tokens[i]) for i in counts][:9]) * 2 ** min(code.count("2"), 9)
    negated = {i for match in _NEGATED.finditer(code) for i in range(*match.span()) if code[i] in "NPW"}
    others = {*counts, *negated, *words}
    chosen = [i for i in numbers if i not in others]
    left += [(tokens[i].raw, "denied") for i in sorted(negated)]
    if not chosen and (negated or (counts and "X" in code)):
        raise ValueError(f"prompt: got {cut_middle(prompt)}, which leaves open what to draw; say a number to draw.")
    if len(chosen) > 1:
        chosen = [_answer_or_ask(tokens, chosen, code, prompt)]
    if not 1 <= copies <= MAX_COPIES:
        raise ValueError(f"prompt: got {copies:,} copies, expected 1 to {MAX_COPIES}.")
    for before, token in zip(tokens, tokens[1:], strict=False):
        if token.word == "of" and before.kind in "CX2NPW":  # "copies of"
            token.word = ""
    return (chosen[0] if chosen else None), copies, left


def _as_written(tokens: Sequence[Token]) -> str:
    return " ".join(token.raw for token in tokens if token.raw)


def _number_of(token: Token) -> int:
    return int("".join(map(str, token.digits)))


def _merged(tokens: Sequence[Token]) -> list[Token]:
    """The tokens, those of one number as one; "and", and "a" before "hundred", belong to the number that they join."""
    merged: list[Token] = []
    for token, following in zip(tokens, [*tokens[1:], Token("", "", ",")], strict=False):
        if token.word == "i" and (following.kind in "wu!" or following.word in UNSAID):
            token = Token("", token.raw)  # a person, as in "I want", and no numeral as in "a thin i"
        back = 1 + bool(merged and (merged[-1].word == "and" or merged[-1].kind == ","))
        parts = [*merged[-back:], token]
        if token.kind in "NPW" and len(parts) > 1 and _belongs(parts):
            words = [part.word for part in parts if part.word]
            merged[-back:] = [Token(" ".join(words), _as_written(parts), "N")]
        else:
            merged.append(token)
    for before, token in zip(merged, merged[1:], strict=False):
        if before.kind == "w" and re.fullmatch("one [a-z]+", token.word):  # "draw one seven"
            token.word = token.word.removeprefix("one ")
    return [Token("", "i", "u")] if [token.raw for token in merged] == ["i"] else merged


def _belongs(parts: Sequence[Token]) -> bool:
    """Whether the last of two or three tokens goes on with the number in the first."""
    left, right = parts[0], parts[-1]
    last = left.word.rpartition(" ")[2]
    if left.word == "a" and len(parts) == 2:
        return right.word in ENGLISH and ends_in_unit(right.word)
    if left.kind not in "NW" or right.kind == "P" or len(left.word) > MAX_SPELLED:
        return False
    families = {_family(last), _family(right.word)}
    if len(parts) > 2 or families == {"numeral", "english"}:
        return (last in ENGLISH and ends_in_unit(last)) or (len(parts) == 2 and ends_in_unit(right.word))
    if len(families) == 1:
        return last in NATIVE_TENS if "native" in families else "roman" not in families
    return families == {"numeral", "sino"} and (ends_in_unit(last[-1]) or ends_in_unit(right.word[0]))


def _family(word: str) -> str:
    """The notation of a number word; only those of one notation make one number."""
    if word.isdecimal():
        return "numeral"
    if word.isascii():
        return "english" if word in ENGLISH else "roman"
    return "native" if word in NATIVE or word in NATIVE_TENS else "sino"


def _answer_or_ask(tokens: list[Token], chosen: Sequence[int], code: str, prompt: str) -> int:
    """Where the only number stands that can be meant of several.

    Raises:
        ValueError: there is no such; the message asks what is meant.
    """
    first, second = tokens[chosen[0]], tokens[chosen[1]]
    between = code[chosen[0] + 1 : chosen[1]]
    is_same = len({tokens[i].digits for i in chosen}) == 1
    if is_same and ("s" in between or len({tokens[i].raw for i in chosen}) > 1):  # "seven (7)"
        return chosen[0]
    low, high = sorted((_number_of(first), _number_of(second)))
    shown = f"{cut_middle(first.raw)} {'or' if 'o' in between else 'and'} {cut_middle(second.raw)}"
    problem = f"{len(chosen):,} numbers, {shown}, …,"
    if len(chosen) == 2:
        if "b" in code and high - low == 2:
            tokens[chosen[0] : chosen[1] + 1] = [Token("", "", "N", parse_number(str(low + 1)))]
            return chosen[0]
        is_range = "t" in between or "b" in code
        problem = f"a range, {shown}," if is_range else f"two numbers, {shown},"
        if between in ("+", "-", "X"):
            problem = f"a calculation, {_as_written(tokens[chosen[0] : chosen[1] + 1])!r},"
    raise ValueError(f"prompt: got {problem} in {cut_middle(prompt)}; expected one number, or a list of prompts.")
