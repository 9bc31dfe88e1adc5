"""What all commands share: wrong input, encodings, closed pipes, Ctrl-C, outputs, JSON; and what `--help` costs."""

import argparse
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from text2digit import cli, shell
from text2digit.sample_text2digit import parse_classes

HEAVY = {"torch", "diffusers", "transformers", "matplotlib", "accelerate", "gradio"}
ENCODINGS = ("ascii", "cp437", "cp850", "cp932", "cp949", "cp1251")


def start(*words, code="import sys; from text2digit import cli; sys.exit(cli.main())", **more):
    """A command in a process of its own."""
    environment = {**os.environ, **more.pop("env", {})}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
    return subprocess.Popen([sys.executable, "-c", code, *words], env=environment, **pipes)


# --- wrong command lines ---------------------------------------------------------------------------------------------

WRONG = [
    ("smaple", "got the verb 'smaple', expected one of train"),
    ("-o x.png", "got the verb '-o'"),
    ("sample --stesp 3", "unrecognized arguments: --stesp"),
    ("sample --steps", "--steps: expected one argument"),
    ("sample --steps ten", "--steps: got ten, expected 1 or more"),
    ("sample --steps 0", "--steps: got 0, expected 1 or more"),
    ("sample --steps 2.5", "--steps: got 2.5, expected 1 or more"),
    ("sample --num 0", "--num: got 0, expected 1 to 1000000"),
    ("sample --num 1000000000000", "--num: got 1000000000000"),
    ("sample --seed -1", "--seed: got -1, expected 0 to"),
    ("sample --seed 12345678901234567890123", "--seed: got 12345678901234567890123, expected 0 to"),
    (f"sample --seed {'9' * 400}", "--seed: got 999"),
    ("sample --eta 2", "--eta: got 2, expected 0 to 1"),
    ("sample --eta nan", "--eta: got nan, expected 0 to 1"),
    ("sample --guidance-scale inf", "--guidance-scale: got inf, expected a finite number"),
    ("sample --guidance_scale big", "--guidance-scale: got big, expected a finite number"),
    ("sample --guidance-interval 0.5", "--guidance-interval: expected 2 arguments"),
    ("sample --guidance-interval 0.5 2", "--guidance-interval: got 2, expected 0 to 1"),
    ("sample --scheduler ddmi", "--scheduler: invalid choice: 'ddmi'"),
    ("sample --model nothing", "nothing: no such folder and no such shipped weights"),
    ("sample --model .", "holds no model_index.json"),
    (
        "sample -o digits.jpg",
        "--output: got digits.jpg, expected FILE.png or FILE.npz or a folder".replace(" or F", ", F"),
    ),
    ("sample -o folder.png", "--output: got folder.png, which is a folder, expected FILE.png"),
    ("sample -o file", "--output: got file, which is a file, expected FILE.png"),
    ("sample -o file/x.png", "--output: got file/x.png, which cannot be written: Not a directory"),
    (f"sample -o {'x' * 300}.png", "which cannot be written: File name too long"),
    ("evaluate", "one of the arguments --model --samples --real is required"),
    ("evaluate --real --model unet-mnist", "--model: not allowed with argument --real"),
    ("evaluate --real --num 3", "--num: got 3, expected 20 to"),
    ("evaluate --real --steps 3", "--steps: got a value without --model"),
    ("evaluate --model unet-mnist --seeds 1 1", "--seeds: got [1, 1], expected different numbers"),
    ("evaluate --samples none.npz", "--samples: no file none.npz"),
    ("evaluate --real --out file", "--out: got file, which is a file, expected a folder"),
    ("evaluate --model unet-mnist --sweep-scheduler unipc", "--sweep-scheduler: got it without --sweep-steps"),
    ("info", "the following arguments are required: model"),
    ("info nothing", "nothing: no such folder"),
    ("info unet-mnist dit-mnist", "unrecognized arguments: dit-mnist"),
    ("push --model unet-mnist", "the following arguments are required: --repo"),
    ("push --model nothing --repo a/b", "nothing: no such folder"),
    ("push --model unet-mnist --repo a/b --out full", "--out: got full, expected a folder that is empty"),
    ("space --out full", "--out: got full, expected a folder that is empty"),
    ("space --out new --lang fr", "--lang: invalid choice: 'fr'"),
    ("play --port x", "--port: got x, expected 0 to 65535"),
    ("play --port 70000", "--port: got 70000, expected 0 to 65535"),
    ("ema --run none --sigma-rel 0.1 --out full", "--out: got full, expected a folder that is empty"),
    ("ema --run none --sigma-rel 0.1 --out new", "none: no such folder"),
    ("train --epochs x", "epochs: got 'x', expected"),
    ("train --config nothing", "neither a file nor a recipe"),
    ("train --hub-model-id a/b", "--hub-model-id: got a name without --push-to-hub"),
    ("train training.epoch=1", "Did you mean training.epochs?"),
]


@pytest.mark.parametrize("line, message", WRONG, ids=[line[:60] for line, _ in WRONG])
def test_wrong_command_lines_end_with_2_and_a_message(line, message, tmp_path, monkeypatch, capsys):
    """Would catch a traceback, work that is done before an output is checked, and a message that names no flag."""
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("folder.png").mkdir()
    Path("full").mkdir()
    (tmp_path / "full" / "mine").touch()
    # shell last: a module that is imported while it is patched would keep the patch for good
    for module in (
        "sample_text2digit",
        "evaluation.evaluate",
        "training.average",
        "gui.play",
        "train_text2digit",
        "shell",
    ):
        monkeypatch.setattr(import_module(f"text2digit.{module}"), "set_up", lambda: pytest.fail("work began"))
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(line.split()) == 2
    said = capsys.readouterr()
    assert message in said.err and said.out == "" and "Traceback" not in said.err
    assert said.err.count("\n") <= 60 and sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("folder", ["/proc", "/sys"])
def test_a_folder_that_nothing_can_be_written_to(folder, capsys):
    """Would catch digits that are drawn and lost, also where the user is root and permissions count for nothing."""
    if not os.path.isdir(folder):
        pytest.skip("needs a file system that takes no files")
    assert cli.main(["sample", "-o", f"{folder}/digits.png"]) == 2
    assert f"--output: got {folder}/digits.png, which cannot be written: " in capsys.readouterr().err


# --- ends ------------------------------------------------------------------------------------------------------------


def end(error):
    """Exit status of a command whose work raises an error."""

    def work(_):
        raise error

    def flags(parser):
        parser.add_argument("--steps", "--num-steps", dest="num_inference_steps", default=1)

    return shell.command("test", None, flags, work)


@pytest.mark.parametrize(
    "error, status, message",
    [
        (ValueError("num_inference_steps: got 0"), 2, "error: --num-steps: got 0\n"),
        (ValueError("other: got 0"), 2, "error: other: got 0\n"),
        (FileNotFoundError("x: no such folder"), 2, "error: x: no such folder\n"),
        (OSError(28, "No space left on device"), 1, "error: [Errno 28] No space left on device\n"),
        (RuntimeError("odd"), 1, "error: RuntimeError: odd (TEXT2DIGIT_TRACEBACK=1 shows where)\n"),
        (shell.Ended("stopped", 143), 143, "stopped\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (ValueError("\x1b[31mred\nline"), 2, "error: \\x1b[31mred\nline\n"),
    ],
    ids=repr,
)
def test_errors_become_a_status_and_a_message(error, status, message, capsys):
    """Would catch statuses of each command's own, and control characters of a hostile folder in a terminal."""
    assert end(error)([]) == status
    assert capsys.readouterr() == ("", message)


def test_a_message_names_the_flag_that_was_typed(capsys):
    assert end(ValueError("num_inference_steps: got 0"))(["--steps=3"]) == 2
    assert capsys.readouterr().err == "error: --steps: got 0\n"


def test_the_traceback_can_be_asked_for(monkeypatch):
    monkeypatch.setenv(shell.TRACEBACK, "1")
    with pytest.raises(RuntimeError, match="odd"):
        end(RuntimeError("odd"))([])


def test_only_the_first_process_speaks(monkeypatch, capsys):
    """Would catch a message once a process; what fails in one process alone is still told."""
    monkeypatch.setenv("RANK", "1")
    assert end(ValueError("x"))([]) == 2 and end(RuntimeError("y"))([]) == 1
    assert capsys.readouterr().err.startswith("error: RuntimeError: y")
    assert shell.command("test", None, lambda parser: None, lambda _: shell.Result("found"))([]) == 0
    assert capsys.readouterr().out == ""


def test_json_is_one_object_of_ascii(capsys):
    """Would catch NaN, which is no JSON, and letters that a console's encoding lacks."""
    facts = {"path": Path("é"), "values": [float("nan"), 1.5, float("inf")]}
    main = shell.command("test", None, lambda parser: None, lambda _: shell.Result("text", facts), has_json=True)
    assert main(["--json"]) == 0
    text = capsys.readouterr().out
    assert text.isascii() and text.count("\n") == 1
    assert json.loads(text) == {"path": "é", "values": [None, 1.5, None]}
    assert main([]) == 0 and capsys.readouterr().out == "text\n"


# --- what is written -------------------------------------------------------------------------------------------------


def test_nothing_is_half_written(tmp_path):
    """Would catch half a picture after Ctrl-C, and an older file that is lost by it."""
    file, folder = tmp_path / "a.txt", tmp_path / "deep" / "folder"
    file.write_text("old")
    with pytest.raises(KeyboardInterrupt), shell.whole(file) as place:
        place.write_text("half")
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), shell.whole(folder) as place:
        place.mkdir()
        (place / "x").touch()
        raise KeyboardInterrupt
    assert file.read_text() == "old" and not any(folder.parent.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "deep"]
    folder.mkdir()
    (folder / "mine").touch()
    with shell.whole(folder) as place:
        place.mkdir()
        (place / "x").touch()
    assert sorted(path.name for path in folder.iterdir()) == ["mine", "x"]


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "b.npz", "b.Npz", "folder", "new/folder"])
def test_outputs_in_any_case(name, tmp_path):
    check = shell.output(".png", ".npz", is_folder=True)
    assert check(str(tmp_path / name)) == tmp_path / name and not any(tmp_path.iterdir())


def test_outputs_that_cannot_be(tmp_path):
    for name, expected in (("", "got ,"), ("a.jpg", "expected FILE.png or a folder")):
        with pytest.raises(argparse.ArgumentTypeError, match=expected):
            shell.output(".png", is_folder=True)(name)
    assert shell.output(is_folder=True)("v1.2") == Path("v1.2")


def test_classes_by_name():
    """Would catch a name with a dash that is read as a range."""
    names = {"T-shirt/top": 0, "Trouser": 1, "Ankle boot": 2}
    assert parse_classes("ankle boot, T-shirt/top", 3, names) == [2, 0]
    assert parse_classes("trouser-2,0", 3, names) == [1, 2, 0]
    with pytest.raises(
        ValueError, match="class_labels: got 'boot', expected classes from 0 to 2, T-shirt/top, Trouser"
    ):
        parse_classes("boot", 3, names)


def test_sample_by_name_in_capitals_and_as_json(pipeline, tmp_path, capsys):
    """`--classes` takes names, `.NPZ` is a suffix, and `--json` has stdout for itself."""
    pipeline.save_pretrained(tmp_path / "model")
    flags = ["--model", str(tmp_path / "model"), "--steps", "1", "--num", "1", "-o", str(tmp_path / "x.NPZ"), "--json"]
    assert cli.main(["sample", *flags, "--classes", "Seven,1-2"]) == 0
    said = capsys.readouterr()
    facts = json.loads(said.out)
    assert facts["labels"] == [7, 1, 2] == np.load(tmp_path / "x.NPZ")["labels"].tolist()
    assert facts["output"] == str(tmp_path / "x.NPZ") and facts["num_inference_steps"] == 1
    assert "3 images by" in said.err and "\r" not in said.err and "\x1b" not in said.err


def test_hosts_and_gradio_s_variable(monkeypatch):
    """Would catch a page that is open to all unasked, and one that refuses those it was opened to."""
    from text2digit.gui.play import listen_at

    monkeypatch.delenv("GRADIO_SERVER_NAME", raising=False)
    assert listen_at([]) == ("127.0.0.1", [])
    assert listen_at(["0.0.0.0", "lab.example"]) == ("0.0.0.0", ["lab.example", "0.0.0.0"])
    assert listen_at(["lab.example"]) == ("127.0.0.1", ["lab.example"])
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    assert listen_at([]) == ("0.0.0.0", ["0.0.0.0"]) and listen_at(["::1"]) == ("::1", [])


# --- processes of their own ------------------------------------------------------------------------------------------


def test_help_and_usage_errors_import_no_library():
    """In one process, all verbs: would catch seconds of imports before a line of help."""
    code = f"""
import sys
from text2digit import cli
for verb in cli.VERBS:
    assert cli.main([verb, "--help"]) == 0 and cli.main([verb, "--nonsense"]) == 2, verb
assert cli.main(["sample", "--model", "nothing"]) == 2
sys.exit(", ".join({HEAVY} & set(sys.modules)) or 0)
"""
    process = start(code=code)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and out.count(b"usage: text2digit ") == len(cli.VERBS), err.decode()


def test_help_in_the_encodings_of_consoles():
    """Would catch UnicodeEncodeError at "…" and "é" on a Korean, Japanese, Russian or American Windows."""
    words = [["--help"], ["sample", "--help"], ["sample", "--model", "칠"]]
    for encoding in ENCODINGS:
        processes = [start(*each, env={"PYTHONIOENCODING": encoding}) for each in words]
        for process, status in zip(processes, (0, 0, 2), strict=True):
            out, err = process.communicate(timeout=120)
            assert process.returncode == status and b"Traceback" not in err, (encoding, err)
            (out + err).decode(encoding)


@pytest.mark.parametrize("encoding", ["ascii", "cp949"])
def test_results_in_the_encodings_of_consoles(encoding):
    """By a stream of that encoding in this process; `info` printed nothing, `evaluate` ended in a traceback."""
    code = """
import sys
from text2digit import shell
sys.exit(shell.command("t", None, lambda parser: None, lambda _: shell.Result("Fréchet ± 칠 …"))([]))
"""
    process = start(code=code, env={"PYTHONIOENCODING": encoding})
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and out.decode(encoding).startswith("Fr\\xe9chet"), err


def test_a_closed_pipe_is_no_error():
    """`text2digit --help | head -1`, and a reader that reads nothing at all."""
    code = """
import sys, time
from text2digit import shell
time.sleep(0.5)
sys.exit(shell.command("t", None, lambda parser: None, lambda _: shell.Result("line\\\\n" * 100_000))([]))
"""
    process = start(code=code)
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait(60) == 0


def test_a_full_disk_behind_stdout_is_an_error():
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    with open("/dev/full", "w") as full:
        process = start("--help", stdout=full)
        err = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 1 and err == "error: [Errno 28] No space left on device\n"


def test_the_package_is_a_command():
    process = subprocess.run(
        [sys.executable, "-m", "text2digit", "sample", "--num", "0"], capture_output=True, text=True
    )
    assert process.returncode == 2 and process.stderr.startswith("error: --num: got 0")
