"""Any value, byte or header of a folder changed: it ends in a `ValueError` that names the file."""

import copy
import json
import os
import random
import struct

import pytest

from .conftest import INDEX, SCHEDULER, WEIGHTS, WHOLE, load_and_show, refused, start_clock

FILES = {
    "classes": [INDEX, "denoiser/config.json", SCHEDULER],
    "text": [INDEX, "text_encoder/config.json", "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"],
}

VALUES = (None, True, -1, 0, 3, 0.5, 1e300, 2**31, 10**40, "x", "x" * 99_999, "\x1b[31m\ud800", [], {}, [[]], [None, 1])
VALUES = (*VALUES, {"a": [1]}, ["x", "y", "z"], float("nan"), float("inf"))


def places(content, path=()):
    """Paths to all values of a JSON object, a few of long lists and tables."""
    if isinstance(content, dict | list):
        keys = list(content) if isinstance(content, dict) else list(range(len(content)))
        for key in keys[:12]:
            yield (*path, key)
            yield from places(content[key], (*path, key))


def mutations(content, count, seed):
    """Copies of a JSON object with one value replaced, deleted or added."""
    generator = random.Random(seed)
    every = list(places(content))
    for _ in range(count):
        mutant = copy.deepcopy(content)
        *outer, key = generator.choice(every)
        place = mutant
        for part in outer:
            place = place[part]
        action = generator.random()
        if action < 0.1:
            del place[key]
        elif action < 0.2 and isinstance(place, dict):
            place[generator.choice(["auto_map", "vocab", "_x", "type", ""])] = generator.choice(VALUES)
        else:
            place[key] = generator.choice(VALUES)
        yield json.dumps(mutant).encode()


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in FILES.items() for name in names])
def test_no_mutation_of_a_configuration_raises_anything_but_a_value_error(folder_of, kind, name):
    """Catches KeyError, TypeError, RecursionError and the like of a library that trusts what it reads."""
    folder = folder_of[kind]
    whole = (folder / name).read_bytes()
    cut = [whole[: len(whole) * part // 7] for part in range(1, 7)]
    for content in [*WHOLE, *cut, *mutations(json.loads(whole), int(os.environ.get("MUTATIONS", 20)), seed=name)]:
        start_clock()
        (folder / name).write_bytes(content)
        try:
            load_and_show(folder, name)
        except Exception as error:
            raise AssertionError(f"{name}: {content[:2000]!r}") from error


def header_of(path):
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def write_weights(path, header, content):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)


def with_tensor(**changes):
    """Changes of the first tensor that a header names."""

    def change_header(header):
        name = next(name for name in header if name != "__metadata__")
        return {**header, name: {**header[name], **changes}}

    return change_header


HEADERS = {
    "overlapping": with_tensor(data_offsets=[4, 8]),
    "beyond the end": with_tensor(data_offsets=[0, 2**40]),
    "backwards": with_tensor(data_offsets=[8, 0]),
    "negative": with_tensor(data_offsets=[-8, 0]),
    "no offsets": with_tensor(data_offsets=None),
    "one offset": with_tensor(data_offsets=[0]),
    "text for offsets": with_tensor(data_offsets=["0", "8"]),
    "unknown dtype": with_tensor(dtype="F999"),
    "list for dtype": with_tensor(dtype=[]),
    "negative shape": with_tensor(shape=[-1, -16]),
    "huge shape": with_tensor(shape=[2**62, 2**62]),
    "text for shape": with_tensor(shape="16"),
    "numbers for tensors": lambda header: dict.fromkeys(header, 7),
    "a list": lambda header: [header],
    "nothing": lambda header: {},
    "nested": lambda header: b"[" * 100_000,
    "no text": lambda header: b"\xff" * 100,
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_damaged_header_of_weights_is_told(saved, case):
    path = saved / "denoiser" / WEIGHTS
    header, content = header_of(path)
    write_weights(path, HEADERS[case](header), content)
    refused(saved, WEIGHTS)


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 8, b"\xff" * 100, (2**62).to_bytes(8, "little"), b"PK\x03\x04" * 50]
)
@pytest.mark.parametrize("kind", ["classes", "text"])
def test_what_is_no_safetensors_is_told(folder_of, kind, content):
    path = folder_of[kind] / ("denoiser/" + WEIGHTS if kind == "classes" else "text_encoder/model.safetensors")
    path.write_bytes(content)
    refused(folder_of[kind], path.name)


@pytest.mark.parametrize("seed", range(4))
def test_no_damage_of_weights_raises_anything_but_a_value_error(saved, seed):
    """Bytes of the header and of its length, at random, and files that were cut off."""
    path, generator = saved / "denoiser" / WEIGHTS, random.Random(seed)
    whole = path.read_bytes()
    for _ in range(25):
        start_clock()
        damaged = bytearray(whole)
        for _ in range(generator.randint(1, 3)):
            damaged[generator.randrange(8 if generator.random() < 0.2 else 3_000)] = generator.randrange(256)
        path.write_bytes(damaged if generator.random() < 0.8 else whole[: generator.randrange(len(whole))])
        load_and_show(saved, "denoiser/" + WEIGHTS)
