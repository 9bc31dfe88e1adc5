"""Whatever is typed, the reader answers; whatever is spelled, it reads back."""

import os
import random
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from text2digit.data.prompts import read_prompt, try_prompt

# As many as the full run has: TEXT2DIGIT_EXAMPLES=100000.
EXAMPLES = int(os.environ.get("TEXT2DIGIT_EXAMPLES", "300"))
FEW = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)

_WORDS = (
    "a one two seven 7 3s vii I hundred and or not between plus times thick very a little copies of dozen - , ( ) . / "
    "^ % 칠 두 개 세 이 은 을 굵은 굵게 않은 말고 십 백 만 번째 사이 아주 그려줘 hello 천사 007 3번 2천 ² ٣ 🙂 x "
    "\u0301 \ufdfa"
)
WORDS = _WORDS.split()
DIGITS = {
    "en": ("{0}", "zero one two three four five six seven eight nine"),
    "ko": ("{0}", "영 일 이 삼 사 오 육 칠 팔 구"),
}
# Sentences around a digit with its adjectives, "{}", and how often it is drawn.
SENTENCES = {
    "en": [
        ("{}", 1), ("draw a {}", 1), ("I need a {} please", 1), ("could you write the number {}?", 1),
        ("let's make two copies of {}", 2), ("a picture of a {}, thanks", 1), ("{} twice", 2), ("just one {}", 1),
    ],
    "ko": [
        ("{}", 1), ("{}을 써 줘", 1), ("나는 {}를 원해요", 1), ("이 그림은 {}입니다", 1), ("{} 두 개 그려 주세요", 2),
        ("{} 그림", 1),
    ],
}  # fmt: skip
ADJECTIVES = {
    "en": {"thick": ("thickness", 1), "fat": ("thickness", 1), "very thin": ("thickness", -2), "italic": ("slant", 1),
           "left leaning": ("slant", -1), "tiny": ("size", -2), "slightly bigger": ("size", 1), "tall": ("height", 1)},
    "ko": {"굵은": ("thickness", 1), "아주 가는": ("thickness", -2), "비스듬한": ("slant", 1), "조그만": ("size", -1),
           "널찍한": ("width", 1), "제일 큰": ("size", 2), "희미한": ("ink", -1)},
}  # fmt: skip


def outcome(prompt):
    """What is read or asked, without the words that are quoted."""
    reading = try_prompt(prompt)
    return reading.digits, reading.copies, reading.text, dict(reading.attributes), bool(reading.question)


@FEW
@given(st.one_of(st.text(), st.text(st.sampled_from("0123456789.,-^ 이칠백십만개aivx\u0301"))))
def test_any_text_is_read_or_refused(prompt):
    """Catches every exception but ValueError: of a character without a value, an index, a depth."""
    reading = try_prompt(prompt)
    assert len(reading.question) < 700 and len(reading.complaint()) < 1500
    assert reading.question or reading.template.count("{}") == 1


@FEW
@given(st.lists(st.sampled_from(WORDS), max_size=12))
def test_any_words_are_read_or_refused(words):
    """The grammar's own words in any order; catches a rule that meets another in a way that nobody thought of."""
    assert outcome(" ".join(words)) == outcome("  ".join(words) + "\n")


@FEW
@given(
    st.lists(st.sampled_from([word for word in WORDS if word.isalpha() and word not in ("vii", "I", "x")]), max_size=8)
)
def test_spacing_case_and_normal_form_do_not_matter(words):
    """Roman numerals apart, which capitals tell from words; catches Korean typed on a Mac, and capitals."""
    prompt = " ".join(words)
    assert outcome(prompt) == outcome(prompt.upper()) == outcome(unicodedata.normalize("NFD", prompt))
    assert outcome(prompt) == outcome("\t" + prompt.title().replace(" ", " \u3000"))


@pytest.mark.parametrize("language", ["en", "ko"])
def test_numbers_of_any_size_are_read_back_in_any_form(language):
    """Spelled by num2words, in numerals, read out; catches a scale, a zero or a particle lost in the middle."""
    spell = pytest.importorskip("num2words", reason="needs num2words, of the test extra").num2words
    names = DIGITS[language][1].split()
    generator = random.Random(0)
    values = [
        *range(130),
        *(generator.randrange(10 ** generator.randrange(2, 20)) for _ in range(max(300, EXAMPLES // 20))),
    ]
    for value in values:
        forms = [str(value), f"{value:,}", spell(value, lang=language), " ".join(names[int(c)] for c in str(value))]
        if language == "en":
            forms += [spell(value, to="ordinal"), spell(value, to="ordinal_num"), spell(value).replace(" and", "")]
            forms += [spell(value, to="year")] if 1000 <= value < 10_000 else []
            forms += [f"a {value}, thin", f"I want a {spell(value)} please", f"draw {value} twice"]
        else:
            forms += [spell(value, lang="ko").replace(" ", ""), "".join(names[int(c)] for c in str(value))]
            forms += [f"{value}번", f"숫자 {value}을 써 줘", f"굵은 {spell(value, lang='ko')}을 그려 줘"]
        for form in forms:
            assert "".join(map(str, read_prompt(form).digits)) == str(value), form


@FEW
@given(st.data())
def test_composed_sentences_mean_what_they_are_composed_of(data):
    """Verbs, counts, adjectives with degrees and a digit in a form of its own; catches one part that hides another."""
    language = data.draw(st.sampled_from(["en", "ko"]))
    digit = data.draw(st.integers(0, 9))
    name = data.draw(st.sampled_from([str(digit), DIGITS[language][1].split()[digit]]))
    chosen = data.draw(st.lists(st.sampled_from(sorted(ADJECTIVES[language])), max_size=3))
    meant = {}
    adjectives = [word for word in chosen if meant.setdefault(ADJECTIVES[language][word][0], word) == word]
    adjectives = list(dict.fromkeys(adjectives))
    sentence, copies = data.draw(st.sampled_from(SENTENCES[language]))
    reading = read_prompt(sentence.format(" ".join([*adjectives, name])))
    assert (reading.digits, reading.copies) == ((digit,), copies)
    assert reading.attributes == dict(ADJECTIVES[language][word] for word in adjectives)
