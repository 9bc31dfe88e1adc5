"""Damaged and hostile folders: each ends in a `ValueError` that names the file, in little time and memory."""

import json
import os
import resource
import shutil
import signal
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from text2digit import DigitPipeline
from text2digit.pipelines.stored import check_folder
from text2digit.sharing import info

from ...conftest import make_text_pipeline

INDEX, SCHEDULER, WEIGHTS = "model_index.json", "scheduler/scheduler_config.json", "diffusion_pytorch_model.safetensors"
SECONDS, BYTES = 20, 3 * 2**30

WHOLE = [b"", b"[]", b"7", b"null", b'"text"', b"{", b"\xff\xfe\x00", os.urandom(300), b"\x00" * 50, b"NaN", b"{}"]
WHOLE += [
    b'{"a": 1, "a": 2}',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"9" * 5_000,
    b'{"_class_name": ' + b"9" * 4_000 + b"}",
]


class TooMuch(BaseException):
    """A load took too long. Not an Exception, so that nothing tells it as another one."""


def start_clock(seconds=SECONDS):
    """Give what follows so much processor time, and ten times that on the clock; 0 is no bound."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.alarm(10 * seconds)


@pytest.fixture(autouse=True)
def bounded():
    """Bounds time and memory of each test: a bomb ends in an error and not in a dead machine."""

    def stop(*_):
        raise TooMuch

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    old = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, old[1]))
    previous = {number: signal.signal(number, stop) for number in (signal.SIGALRM, signal.SIGPROF)}
    start_clock()
    yield
    start_clock(0)
    for number, handler in previous.items():
        signal.signal(number, handler)
    resource.setrlimit(resource.RLIMIT_AS, old)


@pytest.fixture(scope="session")
def text_folder(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    make_text_pipeline(tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture
def saved(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "classes")
    return tmp_path / "classes"


@pytest.fixture
def saved_text(text_folder, tmp_path):
    return shutil.copytree(text_folder, tmp_path / "text")


@pytest.fixture
def folder_of(saved, saved_text):
    return {"classes": saved, "text": saved_text}


def change(path, **changes):
    """Set keys of a JSON file, of inner objects by a dotted name; `...` deletes."""
    content = json.loads(path.read_text())
    for name, value in changes.items():
        *outer, key = name.split(".")
        place = content
        for part in outer:
            place = place[part]
        place.pop(key, None)
        if value is not ...:
            place[key] = value
    path.write_text(json.dumps(content))


def refused(folder, match, info_too=True):
    """The folder does not load, and `info` does not show it."""
    with pytest.raises(ValueError, match=match):
        DigitPipeline.from_pretrained(folder)
    if info_too:
        with pytest.raises(ValueError, match=match):
            check_folder(folder)
        assert info.main([str(folder)]) == 2


def load_and_show(folder, name):
    """What a user does with a folder; a ValueError is an answer if it names the file or its component."""
    try:
        DigitPipeline.from_pretrained(folder)
    except ValueError as error:
        assert name in str(error) or str(Path(folder, name).parent) in str(error)
    assert info.main([str(folder)]) in (0, 2)


def rewrite(path, change_weights):
    weights = load_file(path)
    change_weights(weights)
    save_file(weights, path, metadata={"format": "pt"})
