"""What a prompt says, as far as the captions' words go: which digits, which properties, and what was not understood."""

import re
import unicodedata
from dataclasses import dataclass

from .captions import ANY_DIGIT, FORMS
from .numbers import ENGLISH, cut_middle, is_number_word, parse_number
from .words import (
    ENGLISH_ARTICLES,
    FILLERS,
    INFLECTED,
    NOUNS,
    ORDINAL_NOUNS,
    PARTICLES,
    PHRASES,
    SENTENCES,
    SLIGHTLY,
    VERY,
)

_PUNCTUATION = ".,!?;:\"'“”‘’()[]{}…~*"
# Number words that stand for a thing or a person as often: "a thick one", "I want".
PRONOUNS = {"i", "one", "하나"}
# Characters of a prompt, and of a word in it.
MAX_PROMPT, MAX_WORD = 10_000, 100
# The most words that a message lists.
MAX_LISTED = 5


def _words_of(*texts: str) -> set[str]:
    return {word for text in texts for word in re.sub(r"\{.*?\}|[+,]", " ", text).split()}


_FILLERS = _words_of(*FILLERS.values(), *ANY_DIGIT.values())
_OTHERS = [*SENTENCES.values(), *NOUNS.values(), *ORDINAL_NOUNS.values(), *VERY.values(), *SLIGHTLY.values()]
_ANY_DIGIT = _words_of(*ANY_DIGIT.values())
_PHRASE_WORDS = {
    name: _words_of(*(phrase for table in PHRASES.values() for side in table[name] for phrase in side)) - _FILLERS
    for name in PHRASES["en"]
}
# A word that phrases of one property alone have tells that the property is mentioned.
PROPERTY_OF = {
    word: name
    for name, words in _PHRASE_WORDS.items()
    for word in words
    if sum(word in others for others in _PHRASE_WORDS.values()) == 1
}
_DIGIT_NAMES = {word for forms in FORMS.values() for form in forms for name in form for word in name.split()}
# Words that captions have, and so the encoder; fillers beyond them are understood and left out.
SAID = {
    *_ANY_DIGIT,
    *_DIGIT_NAMES,
    *_words_of(*(text for texts in _OTHERS for text in texts), *ENGLISH_ARTICLES),
    *_words_of(
        *(phrase for table in PHRASES.values() for sides in table.values() for side in sides for phrase in side)
    ),
    "and",
}
KNOWN = SAID | _FILLERS
_LONGEST = max(map(len, KNOWN))


def _deletions(word: str) -> set[str]:
    """The word, and the word without each of its letters."""
    return {word, *(word[:i] + word[i + 1 :] for i in range(len(word)))}


# Two words of which one follows from the other by one mistake share one of these.
_BY_DELETION: dict[str, list[str]] = {}
for _word in sorted(word for word in KNOWN | ENGLISH if word.isascii() and len(word) > 2):
    for _deletion in _deletions(_word):
        _BY_DELETION.setdefault(_deletion, []).append(_word)


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
    """

    text: str
    digits: tuple[int, ...]
    template: str
    properties: frozenset[str]
    unknown: tuple[str, ...]
    corrected: dict[str, str]

    def complaint(self) -> str:
        """What was not understood, as a sentence for a person; "" if all was."""
        parts = [f"{word!r} was read as {other!r}" for word, other in list(self.corrected.items())[:MAX_LISTED]]
        if self.unknown:
            more = f" and {len(self.unknown) - MAX_LISTED:,} more" if len(self.unknown) > MAX_LISTED else ""
            shown = ", ".join(map(cut_middle, self.unknown[:MAX_LISTED]))
            parts.append(f"not understood and left out: {shown}{more}")
        return "; ".join(parts)


def read_prompt(prompt: str) -> Reading:
    """Understand a prompt word by word; capitals, hyphens and punctuation do not matter.

    Args:
        prompt: in English or Korean, such as "a thick, slanted seven" or "굵은 칠"; "" says nothing.

    Raises:
        ValueError: a number that is none, such as "3.5", several numbers, or too long a prompt or word.
    """
    words, unknown, corrected = [], [], {}
    for raw in re.sub(r"(?<=\w)-(?=\w)", " ", _normalized(prompt)).lower().split():
        word = raw.strip(_PUNCTUATION)
        known = _known_form(word)
        if known is None and word and any(c.isdecimal() for c in word):
            parse_number(word)  # says why it is no number
        if known is None and word:
            known = _closest(word)
            if known is None:
                unknown.append(word)
            else:
                corrected[word] = known
        if known:
            words.append(known + ("," if raw.endswith(",") else ""))
    start, end, words = _find_number(words, prompt)
    number = [word.rstrip(",") for word in words[start:end]]
    digits = parse_number(number) if number else ()
    before, after = ([w for w in part if w.rstrip(",") in SAID] for part in (words[:start], words[end:]))
    if len(digits) == 1 and not set(number) <= _DIGIT_NAMES:  # such as "nought"
        number = [str(digits[0])]
    comma = "," if after and words[end - 1].endswith(",") else ""
    mentioned = frozenset(PROPERTY_OF[w] for word in words if (w := word.rstrip(",")) in PROPERTY_OF)
    return Reading(
        text=" ".join([*before, *([" ".join(number) + comma] if number else []), *after]),
        digits=digits,
        template=" ".join([*before, "{}" + comma, *after]),
        properties=mentioned,
        unknown=tuple(dict.fromkeys(unknown)),
        corrected=corrected,
    )


def _normalized(prompt: str) -> str:
    """The prompt in normal form NFKC, word by word: over a long run of accents that takes quadratic time.

    Raises:
        ValueError: it is too long, or has too long a word, before or after.
    """
    normalized = prompt
    if len(prompt) <= 4 * MAX_PROMPT:  # a syllable may be three characters that become one
        _check_words(prompt, 4 * MAX_WORD)
        normalized = " ".join(unicodedata.normalize("NFKC", word) for word in prompt.split())
    if len(normalized) > MAX_PROMPT:
        raise ValueError(
            f"prompt: got {len(normalized):,} characters, expected at most {MAX_PROMPT:,}; pass a list of prompts."
        )
    _check_words(normalized, MAX_WORD)
    return normalized


def _check_words(text: str, longest: int) -> None:
    for word in text.split():
        if len(word) > longest:
            raise ValueError(
                f"prompt: got a word of {len(word):,} characters, {cut_middle(word)}, expected at most {longest}; "
                "put spaces between words."
            )


def _known_form(word: str) -> str | None:
    """The word as captions or numbers have it: itself, or without a Korean particle, or as several written together.

    From the end to the start, so that each ending is understood once.
    """
    endings: list[str | None] = [None] * len(word)
    for start in reversed(range(len(word))):
        endings[start] = _undivided(word[start:])
        stops = range(start + 1, min(start + _LONGEST, len(word) - 1) + 1) if "가" <= word[start] <= "힣" else ()
        for stop in stops:
            if endings[start] is None and endings[stop] and word[start:stop] in KNOWN:
                endings[start] = f"{word[start:stop]} {endings[stop]}"
    return endings[0] if word else None


def _undivided(word: str) -> str | None:
    if word in KNOWN or is_number_word(word):
        return word
    if word in INFLECTED:
        return INFLECTED[word]
    for particle in PARTICLES:
        stem = word.removesuffix(particle)
        if stem != word and (stem in KNOWN or is_number_word(stem)):
            return stem
    return None


def _closest(word: str) -> str | None:
    """The known English word that a typo is taken for; short words are too easily another."""
    if len(word) < 4:
        return None
    near = {known for deletion in _deletions(word) for known in _BY_DELETION.get(deletion, ())}
    return min(near, key=lambda known: (abs(len(known) - len(word)), known), default=None)


def _find_number(words: list[str], prompt: str) -> tuple[int, int, list[str]]:
    """Where the number starts and ends, and the words; pronouns that look like numbers are dropped if need be.

    Raises:
        ValueError: there are two.
    """
    words = [part for word in words for part in word.split()]
    spans = _number_spans(words)
    if len(spans) > 1:
        numbers = {word for start, end in spans for word in words[start:end]} - PRONOUNS
        if numbers:
            # Not within a longer number: "twenty one" stays.
            alone = {start for start, end in spans if end - start == 1 and words[start] in PRONOUNS}
            words = [word for i, word in enumerate(words) if i not in alone]
            spans = _number_spans(words)
    if len(spans) > 1:
        count = "two" if len(spans) == 2 else f"{len(spans):,}"
        shown = " and ".join(cut_middle(" ".join(words[start:end])) for start, end in spans[:2])
        shown += ", …," if len(spans) > 2 else ","
        raise ValueError(
            f"prompt: got {count} numbers, {shown} in {cut_middle(prompt)}; expected one, or a list of prompts."
        )
    start, end = spans[0] if spans else (len(words), len(words))
    if end - start > 1 and words[end - 1] in PRONOUNS and not _is_number(words[start:end]):
        words = [*words[: end - 1], *words[end:]]
        end -= 1
    return start, end, words


def _is_number(words: list[str]) -> bool:
    try:
        return bool(parse_number(words))
    except ValueError:
        return False


def _number_spans(words: list[str]) -> list[tuple[int, int]]:
    """Runs of number words; "and", and "a" before "hundred", belong to the run that they join."""
    spans: list[tuple[int, int]] = []
    for i, word in enumerate(words):
        if not is_number_word(word.rstrip(",")):
            continue
        joined = spans and (spans[-1][1] == i or (spans[-1][1] == i - 1 and words[i - 1] == "and"))
        if joined:
            spans[-1] = (spans[-1][0], i + 1)
        else:
            spans.append((i - 1 if word in ("hundred", "thousand") and i and words[i - 1] == "a" else i, i + 1))
    return spans
