"""`text2digit info` of a damaged or hostile folder."""

import os
import warnings

import pytest

from text2digit.sharing import info
from text2digit.training.history import read_history

from .conftest import INDEX, WHOLE, change


def test_info_shows_no_control_character(saved, capsys):
    """ESC in the name of a class could move the cursor or rename the window of a terminal."""
    names = {"0": "zero\x1b]0;owned\x07", "1": "one\n\u202eeno", "2": "\ud800", "3": "\uc148"}
    change(saved / INDEX, id2label=names)
    assert info.main([str(saved)]) == 0
    shown = capsys.readouterr().out
    assert not any(ord(c) < 32 or not c.isprintable() for c in shown.replace("\n", ""))
    assert r"0: zero\x1b]0;owned\x07; 1: one\n\u202eeno; 2: \ud800; 3: \uc148".replace("\\uc148", "\uc148") in shown
    change(saved / INDEX, **{"\x1b[31m": 1})
    assert info.main([str(saved)]) == 2
    assert "\x1b" not in capsys.readouterr().err


RUN_FILES = ["config.yaml", "history.jsonl", "run.json", "evaluation/report.json"]


@pytest.mark.parametrize("name", RUN_FILES)
def test_info_tells_damaged_files_of_a_run(saved, name, capsys):
    """Row 17: a line of the history that is a list, has no step or a text as loss is passed over by name."""
    (saved / "evaluation").mkdir()
    for content in [*WHOLE, b'{"sessions": 7}', b'{"settings": {}, "sets": {}}', b"a: &x [*x, *x]", b"model: 7"]:
        (saved / name).write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            status = info.main([str(saved)])
        assert status == 0 or name in capsys.readouterr().err
    (saved / name).unlink()
    os.mkfifo(saved / name)
    assert info.main([str(saved)]) == 2


@pytest.mark.parametrize("content", ["data: " + "1:" * 200_000 + "1", "".join(f"k{i}: {i}\n" for i in range(20_000))])
def test_a_recipe_is_bounded_before_it_is_parsed(saved, content, capsys):
    """The first takes a parser of YAML 19 seconds, and 4 MB of the second 36."""
    (saved / "config.yaml").write_text(content)
    assert info.main([str(saved)]) == 2
    assert "config.yaml: has" in capsys.readouterr().err


def test_damaged_lines_of_a_history_are_passed_over_by_name(saved):
    lines = [
        '{"step": 1, "loss": 0.5}',
        "[1]",
        '{"loss": 1}',
        '{"step": 2, "loss": "x"}',
        "{",
        '{"step": 3, "loss": 0.25}',
    ]
    (saved / "history.jsonl").write_text("\n".join([*lines, '{"step": 4, "lo']))
    with pytest.warns(UserWarning) as caught:
        found = read_history(saved / "history.jsonl")
    assert [line["step"] for line in found] == [1, 3]
    assert [str(w.message).split(", ")[1][:6] for w in caught] == ["line 2", "line 3", "line 4", "line 5"]
