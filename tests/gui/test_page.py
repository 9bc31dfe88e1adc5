"""What holds the page together: its words, its commands, its sheet to draw on, and a Space of it."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
import torch

from text2digit.gui import play, space
from text2digit.gui.words import LANGUAGES, Words, all_words, cut

from ..conftest import ROOT
from ..test_structure import MODULES, imported_names
from .visitor import PATIENCE_S

GUI = ROOT / "gui"
# What draws and tells knows nothing of the page, so that a test, a notebook or another page can use it.
WITHOUT_GRADIO = ("studio", "trace", "pictures", "plots", "snippets", "words")


def test_words_are_whole():
    """Would catch a sentence that one language lacks, a gap that only one of them fills, and words that nobody says."""
    code = "".join(path.read_text(encoding="utf-8") for path in GUI.glob("*.py"))
    for key, texts in all_words().items():
        assert list(texts) == list(LANGUAGES) and all(texts.values()), key
        gaps = [sorted(set(re.findall(r"\{(\w+)", text))) for text in texts.values()]
        assert gaps[0] == gaps[1], key
        assert re.search(f"""["']{key}["']""", code), f"{key} is said nowhere"
    with pytest.raises(ValueError, match="lang: got 'fr', expected one of en, ko"):
        Words("fr")


def test_gradio_is_imported_for_the_page_alone():
    """Would catch a package that needs gradio for drawing, and an app that nothing else can use parts of."""
    for path in MODULES:
        names = set(imported_names(path))
        if path.parent != GUI or path.stem in WITHOUT_GRADIO:
            assert not any(name.split(".")[0] == "gradio" for name in names), path
        if path.parent != GUI and path.name != "cli.py":
            assert not any(name.startswith("text2digit.gui") for name in names), path


def test_play_without_gradio_says_how_to_get_it(monkeypatch, capsys):
    """Would catch a traceback for everyone who installed the package as it is."""
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert play.main([]) == 2
    assert "pip install 'text2digit[gui]'" in capsys.readouterr().err


def test_play_with_an_unknown_model_says_so(capsys):
    pytest.importorskip("gradio", reason="needs the extra gui")
    assert play.main(["--model", "nothing-here"]) == 2
    assert "nothing-here: no such folder and no such shipped weights" in capsys.readouterr().err


def test_settings_are_read_as_typed():
    """Would catch 2.5 steps rounded in silence, a seed that is no number, and words that no field of the page has."""
    pytest.importorskip("gradio", reason="needs the extra gui")
    from text2digit.gui.fields import read_count, read_seed, read_settings

    read = read_settings("m", 10.0, 1.5, 10, 60, "own", "own", " 7 ")
    assert read.seed == 7 and read.interval == (0.1, 0.6) and type(read.steps) is int
    for steps in (None, "", 2.5, 0, 1001, float("inf"), float("nan"), "many"):
        got = re.escape(str(steps)) if steps not in (None, "") else "nothing"
        with pytest.raises(ValueError, match=f"^Steps: got {got}, expected a whole number from 1 to 1,000"):
            read_settings("m", steps, 1.5, 0, 100, "own", "own", "0")
    for scale in (None, 1e20, 1e9, -1, float("nan")):
        with pytest.raises(ValueError, match="^Guidance scale: got .*, expected a number from 0 to 100"):
            read_settings("m", 10, scale, 0, 100, "own", "own", "0")
    with pytest.raises(ValueError, match="^Guidance interval: got 60 to 10 %"):
        read_settings("m", 10, 1.5, 60, 10, "own", "own", "0")
    for seed in ("abc", "", "-1", "1.5", str(2**32), "9" * 5000):
        with pytest.raises(ValueError, match="^Seed: got .* expected a whole number from 0 to 4,294,967,295") as error:
            read_seed(seed)
        assert len(str(error.value)) < 200
    for count in (None, 1.5, 0, 101, float("nan")):
        with pytest.raises(ValueError, match="^Images of each: got .*, expected a whole number from 1 to 100"):
            read_count(count)


def test_messages_have_the_words_of_their_page():
    """Would catch a Korean page with English errors, "1 steps", and a message as long as what was typed."""
    pytest.importorskip("gradio", reason="needs the extra gui")
    from text2digit.gui.fields import read_count

    with pytest.raises(ValueError) as error:
        read_count(1.5)
    assert error.value.told(Words("ko")) == "각각 몇 장: 1에서 100 사이의 정수를 넣어 주세요 (입력: 1.5)."
    facts = {"seconds": 1, "count": 1, "steps": 1, "forwards": 2}
    assert Words("en")("drawn", **facts) == "1 image in 1.00 s: 1 step, 2 forward passes an image."
    assert Words("en")("drawn", **{**facts, "steps": 1000}).count("1,000 steps") == 1
    assert cut("a" * 300 + "z") == "a" * 39 + "…" + "a" * 38 + "z" and cut("a" * 80) == "a" * 80


def test_a_sketch_comes_back_as_it_was_drawn():
    """Would catch rows and columns swapped, and a mask taken for the picture under it."""
    pytest.importorskip("gradio", reason="needs the extra gui")
    from text2digit.gui.sketch import centred, pad_value, read_pad

    ink = torch.zeros(28, 28, dtype=torch.uint8)
    ink[2:5, 20:26] = 200
    paper, read = read_pad(pad_value(ink[None].float() / 255, over=False), 28)
    assert paper is None and torch.equal(read, ink)
    paper, read = read_pad(pad_value(ink[None].float() / 255, over=True), 28)
    assert read is None and torch.equal(paper, ink)
    assert read_pad("", 28) == read_pad(None, 28) == (None, None)
    moved = centred(ink)
    assert moved.sum() == ink.sum() and moved[12:16, 10:18].sum() == ink.sum()
    full = torch.ones(28, 28, dtype=torch.uint8)
    assert torch.equal(centred(full), full)
    with pytest.raises(ValueError, match="Your sketch: got ff, expected 28 x 28 pixels"):
        read_pad("ff", 28)


def test_a_run_s_folder_is_not_for_strangers(tmp_path):
    """Would catch a Space that reads any folder whose name a visitor sends."""
    pytest.importorskip("gradio", reason="needs the extra gui")
    from text2digit.gui.training import open_run

    (tmp_path / "history.jsonl").write_text('{"step": 1, "loss": 1.0}\n')
    assert open_run(str(tmp_path)).lines == [{"step": 1, "loss": 1.0}]
    with pytest.raises(ValueError, match="Run: got .*, expected one of"):
        open_run(str(tmp_path), ["unet-mnist"])
    with pytest.raises(ValueError, match="Run: got nothing, expected a folder with a history.jsonl"):
        open_run("")


def test_a_space_starts_from_its_folder(tmp_path, folder, capsys):
    """Would catch a file that the tree lacks, a requirement that its list lacks, and a need for accelerate."""
    pytest.importorskip("gradio", reason="needs the extra gui")
    out = tmp_path / "space"
    assert space.main(["--out", str(out), "--model", folder, "--lang", "ko"]) == 0
    assert "nothing was sent" in capsys.readouterr().out
    assert space.main(["--out", str(out)]) == 2
    assert "expected a folder that is empty" in capsys.readouterr().err
    head = (out / "README.md").read_text(encoding="utf-8").split("---")[1]
    assert "sdk: gradio\n" in head and "app_file: app.py\n" in head and re.search(r"sdk_version: \d+\.\d+", head)
    assert not list(out.rglob("*.pyc")) and not (out / "text2digit" / "tests").exists()

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    absent = "accelerate", "sklearn", "tensorboard", "psutil"
    code = (
        f"import runpy, sys; sys.path.insert(0, ''); sys.modules.update(dict.fromkeys({absent}));"
        "import gradio.networking; gradio.networking.url_ok = lambda url: True;"  # _page_of asks with more patience
        "runpy.run_path('app.py', run_name='__main__')"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1"}
    with (tmp_path / "log").open("w+") as log:
        process = subprocess.Popen([sys.executable, "-c", code], cwd=out, env=environment, stdout=log, stderr=log)
        try:
            page = _page_of(process, f"http://127.0.0.1:{port}/")
            assert page is not None, (tmp_path / "log").read_text()
            assert "그리기" in page or json.dumps("그리기").strip('"') in page
        finally:
            process.terminate()
            process.wait()


def _page_of(process, address, patience_s=600):
    """The page's HTML once it is served; None if the process ends before."""
    for _ in range(patience_s * 4):
        if process.poll() is not None:
            return None
        try:
            with urllib.request.urlopen(address, timeout=PATIENCE_S) as answer:
                return answer.read().decode("utf-8")
        except OSError:
            time.sleep(0.25)
    return None
