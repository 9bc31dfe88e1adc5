"""Prompts that are made to stop the reader: each is read in a moment or refused with a short message."""

import time

import pytest

from text2digit.data.lexicon import MAX_PROMPT
from text2digit.data.prompts import read_prompt

# A reader that forgets where splitting failed takes twice as long for each repeat; this one is read.
REPEATED = ["가는" * 20 + "뷁", "써줘" * 20 + "뷁", "그려줘" * 15 + "뷁", ("가는" * 49 + "뷁 ") * 100]
# Each stays under 10,000 characters, so that the length alone does not refuse it.
LONG = [
    "qwrtz plmkq " * 833,
    "thikc slnated " * 700,
    "twenty five " * 830,
    "hundred and " * 830,
    "a hundred " * 1000,
    "one " * 2500,
    "1 " * 5000,
    ("열" * 99 + " ") * 100,
    "이 " * 5000,
    "i " * 5000,
    ("\u0301\u0316" * 49 + " ") * 100,  # accents out of order, which normal forms sort
    "a, " * 3333,
    "not 3 or 5 plus 7, " * 500,
    "two 3s and " * 900,
    "very " * 2000,
]
REFUSED = [
    "가" * 1000,
    "굵은" * 5000,
    "굵은 " * 5000,
    "써줘" * 1000,
    "열" * 100_000,
    "twenty five " * 8000,
    "hundred and " * 8000,
    "\ufdfa" * 100_000,  # one character that becomes eighteen
    "\ufdfa " * 3000,
    "qwrtz plmkq " * 8333,
    "1" * 10_000,
    "1," * 5000,
    "a" * 1_000_000,
]


def seconds(prompt):
    """The least of three readings' time on the processor, and what came of it."""
    times, told = [], ""
    for _ in range(3):
        start = time.process_time()
        try:
            told = read_prompt(prompt).complaint()
        except ValueError as error:
            told = str(error)
        times.append(time.process_time() - start)
        if times[-1] > 1:
            break
    return min(times), told


@pytest.mark.parametrize("prompt", [*REPEATED, *LONG, *REFUSED], ids=lambda prompt: f"{prompt[:12]}x{len(prompt)}")
def test_any_prompt_takes_a_moment_and_no_message_repeats_it(prompt):
    """Catches searches that start again at each letter or word, recursion, and messages as long as the prompt."""
    taken, told = seconds(prompt)
    assert taken < 0.5  # 50 ms on a quiet machine, more on a busy one; searches that start again take seconds
    assert len(told) < 700


@pytest.mark.parametrize("prompt", REFUSED, ids=lambda prompt: f"{prompt[:12]}x{len(prompt)}")
def test_what_is_too_long_says_so(prompt):
    with pytest.raises(ValueError, match="expected (a whole number from 0 up|at most)"):
        read_prompt(prompt)


def test_the_bound_is_that_of_characters_however_they_are_composed():
    """Catches a bound before normal forms are taken: Korean typed on a Mac has three characters in place of one."""
    words = "a thick seven of ink " * 500
    assert read_prompt("굵은 " * (MAX_PROMPT // 3 - 1) + "7").digits == (7,)
    decomposed = "\u1100\u116e\u11af\u110b\u1173\u11ab " * (MAX_PROMPT // 3 - 1)  # 굵은
    assert read_prompt(decomposed + "7").digits == (7,)
    with pytest.raises(ValueError, match="got 10,499 characters.* expected at most 10,000 and 100. Pass a list"):
        read_prompt(words)
