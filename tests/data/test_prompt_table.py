"""Sentences of people, and what they mean: the number, how often it is drawn, the attributes, and what is asked."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from text2digit.data.lexicon import LEXICON, MENDABLE, language_of
from text2digit.data.ordinary import ORDINARY
from text2digit.data.prompts import read_prompt, try_prompt, what_can_be_said
from text2digit.data.synonyms import SYNONYMS
from text2digit.data.words import PHRASE_OF, PHRASES
from text2digit.sharing.component_code import component_code

READ_BY_0_1_0 = json.loads((Path(__file__).parent / "read_by_0_1_0.json").read_text(encoding="utf-8"))

# prompt, number, copies
NUMBERS = [
    # the table of the issue
    ("I need one seven", "7", 1),
    ("days in one week: seven", "7", 1),
    ("a digit between 4 and 6", "5", 1),
    ("seven (7)", "7", 1),
    ("pair of 2s", "2", 2),
    ("2 thick 3s", "3", 2),
    ("number 10 bus", "10", 1),
    ("room 101", "101", 1),
    ("no. 9", "9", 1),
    ("1,234", "1234", 1),
    ("8️⃣", "8", 1),
    ("٣", "3", 1),
    ("3번", "3", 1),
    ("a dozen", "12", 1),
    ("이 숫자는 4입니다", "4", 1),
    ("세 개", "3", 1),
    ("I want a thick digit", "", 1),
    ("mix", "", 1),
    ("i", "", 1),
    # more of each kind
    ("I", "1", 1),
    ("a thin i", "1", 1),
    ("i draw a 7", "7", 1),
    ("draw one seven", "7", 1),
    ("one seven", "17", 1),
    ("one 7", "7", 1),
    ("seven, 7", "7", 1),
    ("VII (7)", "7", 1),
    ("7 7", "77", 1),
    ("two 3s", "3", 2),
    ("give me three nines", "9", 3),
    ("three copies of a 7", "7", 3),
    ("4 copies of the number 12", "12", 4),
    ("write 7 twice", "7", 2),
    ("7 three times", "7", 3),
    ("half a dozen 4s", "4", 6),
    ("a hundred 7s", "7", 100),
    ("two digits", "", 2),
    ("the year 1990s", "1990", 1),
    ("nineteen oh five", "1905", 1),
    ("twenty-first", "21", 1),
    ("21st", "21", 1),
    ("№9", "9", 1),
    ("#7", "7", 1),
    ("Ⅶ", "7", 1),
    ("七", "7", 1),
    ("MIX", "1009", 1),
    ("Louis XIV", "14", 1),
    ("not 3 but 5", "5", 1),
    ("5, not 3", "5", 1),
    ("3 cm", "3", 1),
    ("my favourite number is 7", "7", 1),
    ("3 little pigs", "3", 1),
    ("can I have a 7", "7", 1),
    ("7 두 개", "7", 2),
    ("칠 세 개 써 줘", "7", 3),
    ("세 개의 굵은 7", "7", 3),
    ("7을 세 번 써 줘", "7", 3),
    ("7 두개 그려줘", "7", 2),
    ("칠 하나 그려줘", "7", 1),
    ("숫자 두 개", "", 2),
    ("세 번째", "3", 1),
    ("일곱째", "7", 1),
    ("3일", "3", 1),
    ("20세", "20", 1),
    ("스물한 살", "21", 1),
    ("7이", "7", 1),
    ("이숫자는4입니다", "4", 1),
    ("4와 6 사이의 숫자", "5", 1),
    ("3 말고 5", "5", 1),
    ("천사 7", "7", 1),
    ("사과 3", "3", 1),
    ("이천 26", "2026", 1),
    ("나는 7을 원해요", "7", 1),
    ("1 두 개 그려 주세요", "1", 2),
    ("two copies of one", "1", 2),
    ("just one fat one", "1", 1),
    ("+7", "7", 1),
    ("*7*", "7", 1),
    ("write the year nineteen eighty four", "1984", 1),
    ("x = 5", "5", 1),
    ("3 == three", "3", 1),
    ("7 instead of 3", "7", 1),
    ("5 million", "5000000", 1),
    ("covid-19", "19", 1),
    ("일이삼", "123", 1),
    ("이천이십육년", "2026", 1),
    ("오늘 7", "7", 1),
]

# prompt, what the question says
QUESTIONS = [
    ("not a 3", "leaves open what to draw"),
    ("no 3s please", "leaves open what to draw"),
    ("don't draw a 3", "leaves open what to draw"),
    ("anything but 3", "leaves open what to draw"),
    ("3이 아닌 숫자", "leaves open what to draw"),
    ("a two-digit number", "leaves open what to draw"),
    ("3 or 5", "two numbers, '3' or '5', .*expected one number, or a list of prompts"),
    ("one or two", "two numbers, 'one' or 'two'"),
    ("3이나 5", "two numbers, '3' or '5'"),
    ("3 and 5", "two numbers, '3' and '5'"),
    ("삼과 오", "two numbers, '삼' and '오'"),
    ("3, 5", "two numbers, '3' and '5'"),
    ("1,23", "two numbers, '1' and '23'"),
    ("one, two, three", "3 numbers, 'one' and 'two', …"),
    ("3-5", "a range, '3' and '5'"),
    ("3 to 5", "a range"),
    ("3에서 5까지", "a range"),
    ("between 1 and 10", "a range"),
    ("two plus two", "a calculation, 'two plus two'"),
    ("three times 7", "a calculation, 'three times 7'"),
    ("2 더하기 2", "a calculation"),
    ("neither 3 nor 5", "leaves open what to draw"),
    ("less than 5", "leaves open what to draw"),
    ("at least 4", "leaves open what to draw"),
    ("5보다 작은 수", "leaves open what to draw"),
    ("5 이상", "leaves open what to draw"),
    ("a 7 that isn't thick", "got \"isn't thick\", which leaves open what to draw; say 'thin' or 'medium thick'"),
    ("seven of nine", "two numbers, 'seven' and 'nine'"),
    ("2026-11-28", "3 numbers, '2026' and '11', …"),
    ("two thirds", "got 'two thirds', expected a whole number from 0 up"),
    ("12:30", "expected a whole number from 0 up"),
    ("4K", "got '4k', expected a whole number from 0 up"),
    ("gr8", "got 'gr8', expected a whole number from 0 up"),
    ("3.14", "got '3.14', expected a whole number from 0 up"),
    ("-5", "expected a whole number from 0 up"),
    ("minus five", "expected a whole number from 0 up"),
    ("마이너스 5", "expected a whole number from 0 up"),
    ("10^6", "got '10.6', expected a whole number from 0 up"),
    ("10⁶", "got '10.6', expected a whole number from 0 up"),
    ("½", "expected a whole number from 0 up"),
    ("seven and a half", "got 'seven and a half', expected a whole number from 0 up"),
    ("50%", "expected a whole number from 0 up"),
    ("1e6", "expected a whole number from 0 up"),
    ("200 7s", "got 200 copies, expected 1 to 100"),
    ("not thick 4", "got 'not thick', .*say 'thin' or 'medium thick'"),
    ("굵지 않은 7", "say '가는' or '보통 굵기의'"),
    ("thick thin 7", "got 'thick' and 'thin', two sides of thickness; say one of them"),
]

# prompt, text, attributes
ATTRIBUTES = [
    ("a fat 4", "a thick 4", {"thickness": 1}),
    ("skinny nine", "thin nine", {"thickness": -1}),
    ("chunky 6", "thick 6", {"thickness": 1}),
    ("a bold italic 8", "a bold slanted 8", {"thickness": 1, "slant": 1}),
    ("a tiny 7", "a very small 7", {"size": -2}),
    ("the thickest 7", "the very thick 7", {"thickness": 2}),
    ("a slightly larger 3", "a slightly large 3", {"size": 1}),
    ("extremely thin 9", "extremely thin 9", {"thickness": -2}),
    ("a bit thin 8", "slightly thin 8", {"thickness": -1}),
    ("a little thick 7", "a little thick 7", {"thickness": 1}),
    ("a little 7", "a little 7", {"size": -1}),
    ("not very thick 4", "medium thick 4", {"thickness": 0}),
    ("a not so thick 7", "a medium thick 7", {"thickness": 0}),
    ("hardly slanted 3", "upright 3", {"slant": 0}),
    ("less slanted 3", "upright 3", {"slant": 0}),
    ("not broken 5", "unbroken 5", {"gaps": -1}),
    ("a 3 without a loop", "a 3 without a loop", {"loops": -1}),
    ("of normal size 5", "of medium sized 5", {"size": 0}),
    ("7 tilting to the left", "7 left leaning", {"slant": -1}),
    ("a seven that leans to the right", "a seven right leaning", {"slant": 1}),
    ("아주 뚱뚱한 8", "아주 굵은 8", {"thickness": 2}),
    ("살짝 기울어진 3", "조금 기울어진 3", {"slant": 1}),
    ("제일 큰 9", "아주 큰 9", {"size": 2}),
    ("별로 굵지 않은 7", "보통 굵기의 7", {"thickness": 0}),
    ("너무 굵지 않게 7", "보통 굵기의 7", {"thickness": 0}),
    ("덜 굵은 9", "보통 굵기의 9", {"thickness": 0}),
    ("길쭉한 1", "높은 1", {"height": 1}),
]


@pytest.mark.parametrize("prompt, number, copies", NUMBERS)
def test_a_person_means_this_number(prompt, number, copies):
    """Catches words left out that join the numbers around them, counts drawn as digits, and pronouns as numerals."""
    reading = read_prompt(prompt)
    assert ("".join(map(str, reading.digits)), reading.copies) == (number, copies)
    assert reading.template.count("{}") == 1
    assert copies == 1 or "nothing in it is known" not in reading.complaint()


@pytest.mark.parametrize("prompt, message", QUESTIONS)
def test_what_may_mean_two_things_is_asked(prompt, message):
    """Catches a guess: 'not a 3' as 3, '3 or 5' as 35."""
    with pytest.raises(ValueError, match=message):
        read_prompt(prompt)
    assert try_prompt(prompt).question and not try_prompt("7").question


@pytest.mark.parametrize("prompt, text, attributes", ATTRIBUTES)
def test_attributes_have_a_degree(prompt, text, attributes):
    reading = read_prompt(prompt)
    assert (reading.text, reading.attributes, reading.complaint()) == (text, attributes, "")


@pytest.mark.parametrize("prompt", sorted(READ_BY_0_1_0))
def test_what_0_1_0_read_right_draws_the_same_image(prompt):
    """A sample of 60,174 generated prompts and of what 0.1.0 made of them; catches a reading that changes a text."""
    reading = read_prompt(prompt)
    assert [reading.text, "".join(map(str, reading.digits))] == READ_BY_0_1_0[prompt]
    assert not reading.complaint()


def test_people_s_words_mean_what_captions_say():
    """At least 40 words in English and 30 in Korean; catches one that is read as another property or side."""
    words = {entry.replace("_", " "): phrase for phrase, entries in SYNONYMS.items() for entry in entries.split()}
    words = {word: phrase.removeprefix("very ") for word, phrase in words.items()}
    meant = {word: PHRASE_OF[phrase] for word, phrase in words.items() if phrase in PHRASE_OF}
    counts = [sum(language_of(word) == language for word in meant) for language in ("en", "ko")]
    assert counts[0] >= 40 and counts[1] >= 30
    for word, (name, side) in meant.items():
        attributes = read_prompt(f"{word} 7").attributes
        assert [(key, (level > 0) - (level < 0)) for key, level in attributes.items()] == [(name, side)], word


@pytest.mark.parametrize(
    "prompt, said",
    [
        (
            "hello world",
            "nothing in it is known: 'hello', 'world'; what can be said besides the digit is its thickness",
        ),
        ("mix", "nothing in it is known: 'mix'"),
        (
            "a round 0",
            "not understood and left out: 'round'; what can be said besides the digit is its thickness, slant",
        ),
        ("a neat 5", "'neat'; what can be said"),
        ("wobbly 2", "'wobbly'; what can be said"),
        ("room 101", "left out: 'room';"),
        ("days in one week: seven", "left out: 'days', 'week';"),
        ("사과 3", "'사과'"),
    ],
)
def test_ordinary_words_are_no_typos(prompt, said):
    """Catches 'world' read as 'would', 'room' as 'from', and an apple read as a 4."""
    reading = read_prompt(prompt)
    assert not reading.corrected and said in reading.complaint()
    assert set(reading.unknown) <= {word for word, _ in reading.left_out}


def test_typos_are_mended_and_told():
    for typo, text in (("sevn", "seven"), ("eihgt", "eight"), ("thikc", "thick"), ("slnated", "slanted")):
        reading = read_prompt(typo)
        assert reading.text == text and reading.corrected == {typo: text}
    for short_or_between in ("teh", "fourh", "IIII"):  # "fourth" or "four" is not for the reader to say
        assert not read_prompt(short_or_between).corrected


def test_the_list_of_ordinary_words_fits_the_lexicon():
    """Catches a list that was not made again after a word was added, and one too long to travel with a push."""
    assert len(" ".join(ORDINARY).encode()) < 60_000
    assert not ORDINARY & {word for words in MENDABLE.values() for word in words}
    assert not ORDINARY & {word for word in LEXICON if len(word) > 1 and word.isascii()}


def test_what_can_be_said_is_understood():
    """The words that a page offers to click; catches one that the reader does not know."""
    for language in PHRASES:
        groups = what_can_be_said(language)
        assert set(groups) == {*PHRASES[language], "degree"}
        for name, words in groups.items():
            for word in words:
                reading = read_prompt(f"{word} 7")
                assert not reading.complaint()
                assert name == "degree" or set(reading.attributes) == {name}


def test_the_reader_that_travels_with_a_push_reads_the_same(tmp_path):
    """Catches a statement that the joined file leaves out, such as a table that is filled after it is made."""
    path = tmp_path / "pipeline.py"
    path.write_text(component_code("TextConditionedDigitPipeline"), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("travelling_prompts", path)
    travelling = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = travelling  # dataclasses look their module up
    try:
        spec.loader.exec_module(travelling)
        for prompt in [row[0] for row in (*NUMBERS, *ATTRIBUTES)] + ["sevn", "hello world", "the twelfth", "사과"]:
            assert vars(travelling.read_prompt(prompt)) == vars(read_prompt(prompt)), prompt
        for prompt, message in QUESTIONS:
            with pytest.raises(ValueError, match=message):
                travelling.read_prompt(prompt)
    finally:
        del sys.modules[spec.name]
