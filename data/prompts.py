"""What a prompt says, as far as the captions' words go: which number, which attributes, and what was not understood."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from .expressions import find_number
from .lexicon import Token, language_of, tokens_of
from .numbers import cut_middle
from .words import DIGIT_WORDS, FILLERS, PHRASE_OF, PHRASES, SAID, SLIGHTLY, VERY, words_in

# The most words that a message lists, and what it says before them.
MAX_LISTED = 5
_UNKNOWN = ("nothing in it is known", "not understood and left out")
_MOST_WORDS_OF_PHRASE = max(phrase.count(" ") for phrase in PHRASE_OF) + 1
_PHRASE_STARTS = {phrase.split()[0] for phrase in PHRASE_OF}
# What stands before a phrase and changes it: "not very thick".
_MODIFIERS = re.compile("(!?)([vlm]*)$")
_FILLER_WORDS = words_in(*FILLERS.values())
_WORDS_OF = [(word, name) for phrase, (name, _) in PHRASE_OF.items() for word in phrase.split()]
# A word that phrases of one property alone have tells that the property is mentioned.
PROPERTY_OF = {
    word: name
    for word, name in _WORDS_OF
    if word not in _FILLER_WORDS and all(other == name for same, other in _WORDS_OF if same == word)
}


@dataclass(frozen=True)
class Reading:
    """A prompt as it was understood.

    Attributes:
        text: those of its words that captions have, as they spell them; "" says nothing, and so is unconditional.
        digits: of the number in it, from the left; () where there is none.
        template: `text` with "{}" in place of the number.
        properties: those that it mentions.
        unknown: words that nothing is known of; they are left out of `text`.
        corrected: words that were taken for others.
        copies: how many images of it are asked for.
        attributes: the level from -2 to 2 of each property that it says, as `make_caption` takes them.
        left_out: words that are not drawn, each with the reason.
        question: what must be asked before anything is drawn; "" if nothing.
    """

    text: str = ""
    digits: tuple[int, ...] = ()
    template: str = ""
    properties: frozenset[str] = frozenset()
    unknown: tuple[str, ...] = ()
    corrected: Mapping[str, str] = field(default_factory=dict)
    copies: int = 1
    attributes: Mapping[str, int] = field(default_factory=dict)
    left_out: tuple[tuple[str, str], ...] = ()
    question: str = ""

    def complaint(self) -> str:
        """What was not understood, as a sentence for a person; "" if all was."""
        parts = [f"{word!r} was read as {other!r}" for word, other in self.corrected.items()]
        parts += [f"{word!r} is left out: it is {why}" for word, why in self.left_out if word not in self.unknown]
        if self.unknown:
            shown = ", ".join(map(cut_middle, self.unknown[:MAX_LISTED]))
            shown += f" and {len(self.unknown) - MAX_LISTED:,} more" if len(self.unknown) > MAX_LISTED else ""
            known = f"what can be said besides the digit is its {', '.join(PHRASES['en'])}"
            parts.append(f"{_UNKNOWN[bool(self.text)]}: {shown}; {known}")
        return "; ".join(parts[-MAX_LISTED:])


def read_prompt(prompt: str) -> Reading:
    """Understand a prompt; capitals, hyphens and punctuation do not matter.

    Args:
        prompt: in English or Korean, such as "a thick, slanted seven", "굵은 칠" or "two 3s"; "" says nothing.

    Raises:
        ValueError: a number that is none, such as "3.5", several of them, a negation, or too long a prompt or word. The
            message asks what is meant.
    """
    tokens, corrected = tokens_of(prompt)
    attributes, clash = _attributes(tokens)
    index, copies, left_out = find_number(tokens, prompt)
    if clash:
        raise ValueError(clash)
    number = Token("", "") if index is None else tokens[index]
    if index is not None:
        tokens[index] = Token("{}", "")
    template = re.sub("\\{\\},$", "{}", " ".join(_said(tokens)))
    word = number.word if len(number.digits) != 1 or number.word in DIGIT_WORDS else str(number.digits[0])
    text = template.replace("{}", word)
    is_empty = not text and copies == 1
    unknown = tuple(dict.fromkeys(token.raw for token in tokens if token.kind == "u" or (token.raw and is_empty)))
    mentioned = {PROPERTY_OF[token.word] for token in tokens if token.word in PROPERTY_OF}
    return Reading(
        text=text,
        digits=number.digits,
        template=template if number.digits else f"{template} {{}}".lstrip(),
        properties=frozenset(mentioned),
        unknown=unknown,
        corrected=corrected,
        copies=copies,
        attributes=attributes,
        left_out=(*((word, "not understood") for word in unknown), *left_out),
    )


def copies_of(prompt: str) -> list[str]:
    """Return one prompt for each image that a prompt asks for: "two thick 3s" is "thick 3" twice.

    Raises:
        ValueError: as `read_prompt`.
    """
    reading = read_prompt(prompt)
    return [prompt] if reading.copies == 1 else [reading.text] * reading.copies


def try_prompt(prompt: str) -> Reading:
    """Read a prompt while it is typed: what `read_prompt` would raise is the reading's `question`."""
    try:
        return read_prompt(prompt)
    except ValueError as error:
        return Reading(question=str(error))


def what_can_be_said(language: str = "en") -> dict[str, tuple[str, ...]]:
    """List words to choose from: of each property from its low side to its high one, and of degrees.

    Args:
        language: "en" or "ko".
    """
    table = PHRASES[language]
    said = {name: tuple(side[0].removeprefix("+") for side in sides if side) for name, sides in table.items()}
    return {**said, "degree": (SLIGHTLY[language][0], VERY[language][0])}


def _said(tokens: list[Token]) -> list[str]:
    """The words that captions have, with their commas; those of other numbers and of connectors are none."""
    said: list[str] = []
    is_said = False
    for token in (token for token in tokens if token.kind != "e"):
        if token.kind == "," and is_said:
            said[-1] += ","
        is_said = token.word == "{}" or (token.word in SAID and token.kind in "fwatvl")
        said += [token.word] if is_said else []
    return said


def _attributes(tokens: list[Token]) -> tuple[dict[str, int], str]:
    """The level of each property that is said, and what to ask where two sides of one are said; "" if none are."""
    levels: dict[str, int] = {}
    said: dict[str, str] = {}
    clash, i = "", 0
    while i < len(tokens):
        count, phrase = _phrase_at(tokens, i)
        after_a = phrase == "little" and 0 < i < len(tokens) - 1 and tokens[i - 1].word == "a"
        if not count or (after_a and _phrase_at(tokens, i + 1)[0]):  # "a little thick"
            i += 1
            continue
        name, side = PHRASE_OF[phrase]
        start, stop, side, degree = _modified(tokens, i, i + count, name, side)
        level = side * degree
        if name in levels and levels[name] * level <= 0 and levels[name] != level:
            clash = f"prompt: got {said[name]!r} and {phrase!r}, two sides of {name}; say one of them."
        said[name] = phrase
        levels[name] = max(level, levels.get(name, level), key=abs)
        for token in tokens[start:stop]:
            token.kind = "f"  # "without a loop" denies nothing
        i = stop
    return levels, clash


def _modified(tokens: list[Token], i: int, stop: int, name: str, side: int) -> tuple[int, int, int, int]:
    """Where a phrase and what modifies it start and stop, its side and degree; a denied phrase is replaced.

    A denied degree is the middle, "not very thick", and a denied loop or gap is none.

    Raises:
        ValueError: a denial that leaves open what to draw.
    """
    match = _MODIFIERS.search("".join(token.kind for token in tokens[max(0, i - 5) : i]))
    denial, degrees = match.groups() if match else ("", "")
    if stop < len(tokens) and tokens[stop].kind == "k" and tokens[stop - 1].raw.endswith("지"):  # "굵지 않은"
        denial, stop = "k", stop + 1
    sides = PHRASES[language_of(tokens[stop - 1].raw)][name]
    start = i - len(degrees) - (denial == "!")
    if not denial and "m" not in degrees:
        return start, stop, side, 2 if "v" in degrees and sides[1] else 1
    shown = " ".join(token.raw for token in tokens[start:stop] if token.raw)
    if not sides[1] and "m" not in degrees:
        side = -side
    elif sides[1] and degrees.strip("l"):
        side = 0
    else:
        others = " or ".join(repr(phrases[0]) for k, phrases in enumerate(sides) if phrases and k != side + 1)
        raise ValueError(f"prompt: got {shown!r}, which leaves open what to draw; say {others}.")
    tokens[start:stop] = [Token(word, "") for word in sides[side + 1][0].split()]
    return start, start + len(sides[side + 1][0].split()), side, 1


def _phrase_at(tokens: list[Token], i: int) -> tuple[int, str]:
    """How many tokens from the i-th on are a caption's phrase, and the phrase; 0 where none begins."""
    if tokens[i].word not in _PHRASE_STARTS:
        return 0, ""
    near = itertools.takewhile(lambda token: token.kind not in "NPW,", tokens[i : i + _MOST_WORDS_OF_PHRASE])
    words = [token.word for token in near]
    count = next((count for count in range(len(words), 0, -1) if " ".join(words[:count]) in PHRASE_OF), 0)
    return count, " ".join(words[:count])
