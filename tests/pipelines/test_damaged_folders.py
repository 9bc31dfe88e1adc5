"""Damaged and hostile folders: each ends in a `ValueError` that names the file, in little time and memory."""

import copy
import json
import os
import random
import resource
import shutil
import signal
import struct
import warnings
from pathlib import Path

import diffusers
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from text2digit import DigitPipeline, DigitUNet2DModel
from text2digit.models.text import build_text_encoder
from text2digit.pipelines.stored import check_folder
from text2digit.sharing import info
from text2digit.training.history import read_history

from ..conftest import TINY, make_text_pipeline, randomize

INDEX, SCHEDULER, WEIGHTS = "model_index.json", "scheduler/scheduler_config.json", "diffusion_pytorch_model.safetensors"
FILES = {
    "classes": [INDEX, "denoiser/config.json", SCHEDULER],
    "text": [INDEX, "text_encoder/config.json", "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"],
}
SECONDS, BYTES = 20, 3 * 2**30


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


@pytest.fixture(scope="module")
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


# --- generated mutations ---------------------------------------------------------------------------------------------

VALUES = (None, True, -1, 0, 3, 0.5, 1e300, 2**31, 10**40, "x", "x" * 99_999, "\x1b[31m\ud800", [], {}, [[]], [None, 1])
VALUES = (*VALUES, {"a": [1]}, ["x", "y", "z"], float("nan"), float("inf"))
WHOLE = [b"", b"[]", b"7", b"null", b'"text"', b"{", b"\xff\xfe\x00", os.urandom(300), b"\x00" * 50, b"NaN", b"{}"]
WHOLE += [
    b'{"a": 1, "a": 2}',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"9" * 5_000,
    b'{"_class_name": ' + b"9" * 4_000 + b"}",
]


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


# --- weights that do not fit -----------------------------------------------------------------------------------------


def rewrite(path, change_weights):
    weights = load_file(path)
    change_weights(weights)
    save_file(weights, path, metadata={"format": "pt"})


FAULTS = {
    "missing": (lambda w: w.pop("conv_in.weight"), "lacks conv_in.weight"),
    "empty": (lambda w: w.clear(), "lacks .* and [0-9]+ more"),
    "extra": (lambda w: w.update(surplus=torch.ones(2)), "has surplus, which is unknown"),
    "shape": (lambda w: w.update({"conv_in.bias": torch.ones(3)}), r"conv_in.bias as F32 \[3\], expected \[16\]"),
    "dtype": (lambda w: w.update({"conv_in.bias": torch.ones(16, dtype=torch.int64)}), "conv_in.bias as I64"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("of_class", [False, True])
def test_weights_that_do_not_fit_are_named(saved, fault, of_class):
    """0.1.0 loaded them, and the first call ended in "Tensor on device meta"."""
    change_weights, match = FAULTS[fault]
    rewrite(saved / "denoiser" / WEIGHTS, change_weights)
    if of_class:
        with pytest.raises(ValueError, match=match):
            DigitUNet2DModel.from_pretrained(saved, subfolder="denoiser")
    else:
        refused(saved, match)


def test_weights_of_a_text_encoder_that_do_not_fit_are_named(saved_text):
    """transformers draws missing weights at random and says so in the log alone."""
    rewrite(saved_text / "text_encoder" / "model.safetensors", lambda w: w.pop("final_layer_norm.bias"))
    refused(saved_text, "model.safetensors: does not fit .*lacks final_layer_norm.bias")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("part", ["denoiser/" + WEIGHTS, "text_encoder/model.safetensors"])
def test_weights_that_are_not_finite_are_named(saved_text, part, value):
    weights = load_file(saved_text / part)
    name = sorted(weights)[-1]
    rewrite(saved_text / part, lambda w: w[name].view(-1)[-1:].fill_(value))
    with pytest.raises(ValueError, match=f"{part.split('/')[0]}: .*{name} holds NaN or infinity"):
        DigitPipeline.from_pretrained(saved_text)


def test_large_weights_are_no_infinite_ones(saved):
    """Their sum is infinite in float32, and they are not."""
    rewrite(saved / "denoiser" / WEIGHTS, lambda w: w["conv_in.bias"].fill_(3e38))
    DigitPipeline.from_pretrained(saved)


# --- parts that do not fit each other --------------------------------------------------------------------------------


def test_a_text_encoder_of_another_width_is_refused(saved_text, tokenizer):
    """Would catch an `info` that checks each part alone and shows a folder that does not load."""
    build_text_encoder(tokenizer, width=32, layers=1, heads=2).save_pretrained(saved_text / "text_encoder")
    refused(saved_text, "got a model with cross_attention_dim=16, expected 32, the width of the text encoder")


def test_a_tokenizer_with_more_tokens_than_the_encoder_is_refused(saved_text, tokenizer):
    """Would catch an IndexError of the first prompt with one of these tokens."""
    content = json.loads((saved_text / "tokenizer" / "tokenizer.json").read_text())
    extra = {"id": 5_000, "content": "<extra>", "special": False, "normalized": False, "single_word": False}
    extra |= {"lstrip": False, "rstrip": False}
    content["model"]["vocab"]["<extra>"] = 5_000
    content["added_tokens"].append(extra)
    (saved_text / "tokenizer" / "tokenizer.json").write_text(json.dumps(content))
    refused(saved_text, "tokenizer: got a token 5000, expected ids below the text encoder's")


def test_a_name_of_a_class_that_the_denoiser_has_not_is_refused(saved):
    """Would catch the name of the null class: it drew unconditional images without a word."""
    names = {str(i): f"name {i}" for i in range(11)}
    change(saved / INDEX, id2label=names)
    refused(saved, "id2label: got a name of class 10, expected classes 0 to 9, as the denoiser has them")


def test_prompts_longer_than_the_encoder_reads_are_refused(saved_text):
    change(saved_text / INDEX, max_prompt_tokens=4_000)
    refused(saved_text, "max_prompt_tokens: got 4000, expected")


def test_latents_of_other_channels_are_refused(saved):
    diffusers.AutoencoderKL(block_out_channels=(8,), norm_num_groups=4).save_pretrained(saved / "vae")
    change(saved / INDEX, vae=["diffusers", "AutoencoderKL"])
    refused(saved, "vae: got latents of 4 channels, expected 1, as the denoiser takes")


# --- bombs -----------------------------------------------------------------------------------------------------------

PADDING = {"direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "<|pad|>"}
TRUNCATION = {"direction": "Right", "strategy": "LongestFirst", "stride": 0}
BOMBS = [
    ("classes", SCHEDULER, {"num_train_timesteps": 2_000_000_000}),
    ("classes", SCHEDULER, {"trained_betas": [0.1] * 200_000}),
    ("classes", "denoiser/config.json", {"layers_per_block": 1_000_000}),
    ("classes", "denoiser/config.json", {"num_classes": 1_000_000_000}),
    ("classes", "denoiser/config.json", {"num_classes": 1_000_000}),
    ("classes", "denoiser/config.json", {"sample_size": 1_000_000}),
    ("classes", "denoiser/config.json", {"sample_size": 4_096}),
    ("classes", "denoiser/config.json", {"block_out_channels": [16] * 90_000, "attention_levels": [False] * 90_000}),
    ("classes", "denoiser/config.json", {"in_channels": 10**6, "block_out_channels": [2**20, 2**20]}),
    ("classes", INDEX, {"default_num_inference_steps": 10**9}),
    ("text", INDEX, {"max_prompt_tokens": 10**9}),
    ("text", "text_encoder/config.json", {"num_hidden_layers": 1_000_000}),
    ("text", "text_encoder/config.json", {"vocab_size": 1_000_000}),
    ("text", "text_encoder/config.json", {"max_position_embeddings": 10**12}),
    ("text", "tokenizer/tokenizer.json", {"padding": {**PADDING, "strategy": {"Fixed": 10**9}}}),
    ("text", "tokenizer/tokenizer.json", {"truncation": {**TRUNCATION, "max_length": 10**9}}),
]


@pytest.mark.parametrize(("kind", "name", "changes"), BOMBS, ids=[f"{b[1]} {next(iter(b[2]))}" for b in BOMBS])
def test_sizes_are_checked_before_memory_is_taken(folder_of, kind, name, changes):
    change(folder_of[kind] / name, **changes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(folder_of[kind], name)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


def test_a_table_beside_the_weights_is_bounded(tmp_path):
    """The places of a DiT's patches are computed from its config, and no weight tells how many there are."""
    TINY["DiT"](class_channels=None, patch_size=4).save_pretrained(tmp_path)
    change(tmp_path / "config.json", sample_size=4_096 * 4)
    with pytest.raises(ValueError, match="sample_size: got 16384, expected -4,096 to 4,096"):
        type(TINY["DiT"]()).from_pretrained(tmp_path)
    model = TINY["DiT"](class_channels=None, patch_size=1, num_attention_heads=8, attention_head_dim=32)
    model.save_pretrained(tmp_path)
    change(tmp_path / "config.json", sample_size=4_000)
    with pytest.raises(ValueError, match="asks for tables of more than"):
        type(model).from_pretrained(tmp_path)


GROWTH = {
    "replace": [{"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 1_000}] * 3,
    "replace nothing": [{"type": "Replace", "pattern": {"String": ""}, "content": "a"}],
    "replace twice": [{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 8,
    "many steps": [{"type": "NFKD"}] * 9,
    "prepend": [{"type": "Prepend", "prepend": "a" * 1_000}],
    "slow expression": [{"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}],
    "table": [{"type": "Precompiled", "precompiled_charsmap": "BAAAAAAAAAA" + "YWFh" * 100 + "YQ=="}],
    "no table": [{"type": "Precompiled", "precompiled_charsmap": 7}],
    "unknown": [{"type": "Python"}],
}


@pytest.mark.parametrize("case", GROWTH)
def test_a_tokenizer_that_lets_a_text_grow_is_refused(saved_text, case):
    """Out of memory, the tokenizers library ends the process; nothing in Python can catch that."""
    steps = GROWTH[case]
    change(saved_text / "tokenizer" / "tokenizer.json", normalizer={"type": "Sequence", "normalizers": steps})
    refused(saved_text, "tokenizer.json: normalizer has")


def test_a_template_that_repeats_the_text_is_refused(saved_text):
    path = saved_text / "tokenizer" / "tokenizer.json"
    change(path, **{"post_processor.single": [{"Sequence": {"id": "A", "type_id": 0}}] * 1_000})
    refused(saved_text, "tokenizer.json: post_processor has")


# --- files that are never opened -------------------------------------------------------------------------------------


def test_a_fifo_is_refused_and_not_waited_for(saved):
    for name in (SCHEDULER, "denoiser/" + WEIGHTS, "denoiser/config.json"):
        (saved / name).rename(saved / "kept")
        os.mkfifo(saved / name)
        refused(saved, f"{Path(name).name}: expected a regular file")
        (saved / name).unlink()
        (saved / "kept").rename(saved / name)


def test_a_link_that_leaves_the_folder_is_refused(saved, tmp_path):
    for name in (INDEX, SCHEDULER, "denoiser/" + WEIGHTS):
        outside = tmp_path / "outside"
        (saved / name).rename(outside)
        (saved / name).symlink_to(outside)
        refused(saved, f"{Path(name).name}: is a link to .*outside, expected a file inside")
        (saved / name).unlink()
        outside.rename(saved / name)
    (saved / "denoiser").rename(tmp_path / "denoiser")
    (saved / "denoiser").symlink_to(tmp_path / "denoiser")
    refused(saved, "config.json: is a link to")


@pytest.mark.parametrize("name", ["x" * 5_000, "a\0b", ""])
def test_what_can_be_no_name_is_told(name):
    with pytest.raises(ValueError, match=r"no such folder and no such shipped weights|holds no model_index"):
        DigitPipeline.from_pretrained(name)


def test_a_link_in_a_circle_is_told(saved):
    (saved / SCHEDULER).unlink()
    (saved / SCHEDULER).symlink_to(saved / SCHEDULER)
    refused(saved, "scheduler_config.json")


@pytest.mark.parametrize("name", ["config.json", WEIGHTS])
def test_a_folder_in_place_of_a_file_is_told(saved, name):
    (saved / "denoiser" / name).unlink()
    (saved / "denoiser" / name).mkdir()
    refused(saved, f"{name}: expected a regular file")


@pytest.mark.parametrize("pickle", ["pytorch_model.bin", "PYTORCH_MODEL.BIN", "model.ckpt", "pytorch_model.pt"])
def test_weights_that_are_a_pickle_alone_are_refused_by_name(saved_text, pickle):
    (saved_text / "text_encoder" / "model.safetensors").rename(saved_text / "text_encoder" / pickle)
    refused(saved_text, f"text_encoder: holds no model.safetensors but {pickle}, expected weights in safetensors")


FOLLOWED = ["adapter_config.json", "adapter_model.safetensors", "model.gguf", "tekken.json", "tokenizer.model"]


@pytest.mark.parametrize("name", FOLLOWED)
def test_a_file_that_leads_a_loader_elsewhere_is_refused(saved_text, name):
    """An adapter names a base model on the Hub, which peft then fetches."""
    (saved_text / "text_encoder" / name).write_text('{"base_model_name_or_path": "user/other", "peft_type": "LORA"}')
    refused(saved_text, f"{name}: leads a loader to other files")


KEYS = [
    ("text_encoder/config.json", {"_attn_implementation": "kernels-community/flash-attn"}),
    ("text_encoder/config.json", {"attn_implementation": "kernels-community/flash-attn"}),
    ("text_encoder/config.json", {"auto_map": {"AutoModel": "code.Model"}}),
    ("text_encoder/config.json", {"transformers_weights": "adapter_model.bin"}),
    ("text_encoder/config.json", {"quantization_config": {"quant_method": "bitsandbytes"}}),
    ("denoiser/config.json", {"quantization_config": {"quant_method": "torchao"}}),
    ("denoiser/config.json", {"auto_map": {"AutoModel": "code.Model"}}),
    ("tokenizer/tokenizer_config.json", {"tokenizer_file": "/etc/hostname"}),
    ("tokenizer/tokenizer_config.json", {"fast_tokenizer_files": ["tokenizer.other.json"]}),
    ("tokenizer/tokenizer_config.json", {"chat_template": "{{ 1 }}"}),
    ("tokenizer/tokenizer_config.json", {"init_inputs": ["/etc/hostname"]}),
    (INDEX, {"custom_pipeline": "user/other"}),
    (INDEX, {"another": ["diffusers", "DDIMScheduler"]}),
]


@pytest.mark.parametrize(("name", "changes"), KEYS, ids=[f"{k[0]} {next(iter(k[1]))}" for k in KEYS])
def test_keys_that_nobody_allowed_are_refused(saved_text, name, changes):
    change(saved_text / name, **changes)
    refused(saved_text, f"{Path(name).name}: has a key '{next(iter(changes))}', expected some of")


TYPES = [
    (INDEX, {"id2label": ["zero"]}, "id2label: got .*, expected dict"),
    (INDEX, {"default_guidance_interval": [None, 1]}, "default_guidance_interval: got"),
    (INDEX, {"_class_name": None}, "model_index.json: is a None, expected one of ClassConditioned"),
    (INDEX, {"denoiser": [None, None]}, "model_index.json: has no denoiser"),
    (INDEX, {"scheduler": ...}, "model_index.json: has no scheduler"),
    ("denoiser/config.json", {"dropout": float("nan")}, "denoiser/config.json: dropout: got nan, expected -"),
    ("denoiser/config.json", {"dropout": True}, "dropout: got True, expected float"),
    ("denoiser/config.json", {"_class_name": "DigitDiT2DModel"}, "_class_name: got .*, expected 'DigitUNet2DModel'"),
    (SCHEDULER, {"beta_start": "small"}, r"beta_start: got 'small', expected float\."),
    ("denoiser/config.json", {"block_out_channels": ["a"]}, r"block_out_channels: got .*, expected \w+\[int"),
]


@pytest.mark.parametrize(("name", "changes", "match"), TYPES, ids=[f"{t[0]} {next(iter(t[1]))}" for t in TYPES])
def test_types_are_those_of_the_constructor(saved, name, changes, match):
    change(saved / name, **changes)
    refused(saved, match)


MAPS = [
    [],
    {},
    {"metadata": {}},
    {"metadata": {}, "weight_map": []},
    {"metadata": {}, "weight_map": {"conv_in.weight": 7}},
    {"metadata": {}, "weight_map": {"conv_in.weight": "missing.safetensors"}},
    {"metadata": {}, "weight_map": {"conv_in.weight": "../text.safetensors"}},
    {"metadata": {}, "weight_map": {"conv_in.weight": WEIGHTS}},
    {"weight_map": {"conv_in.weight": WEIGHTS}},
    {"metadata": {}, "weight_map": {}},
]


@pytest.mark.parametrize("content", MAPS, ids=str)
def test_a_damaged_map_of_shards_is_told(saved, content):
    (saved / "denoiser" / f"{WEIGHTS}.index.json").write_text(json.dumps(content))
    refused(saved, "index.json")


# --- what is valid loads ---------------------------------------------------------------------------------------------


def test_links_of_the_hub_s_cache_load(saved, tmp_path):
    """There every file is a link into `blobs`."""
    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / "0123", tmp_path / "models--a--b" / "blobs"
    shutil.copytree(saved, snapshot)
    blobs.mkdir()
    for number, path in enumerate(sorted(p for p in snapshot.rglob("*") if p.is_file())):
        path.rename(blobs / str(number))
        path.symlink_to(os.path.relpath(blobs / str(number), path.parent))
    DigitPipeline.from_pretrained(snapshot)
    DigitUNet2DModel.from_pretrained(snapshot / "denoiser")


def test_what_is_passed_need_not_be_there(saved, pipeline):
    shutil.rmtree(saved / "denoiser")
    (saved / SCHEDULER).write_text("[")
    loaded = DigitPipeline.from_pretrained(saved, denoiser=pipeline.denoiser, scheduler=pipeline.scheduler)
    assert loaded.denoiser is pipeline.denoiser and loaded.scheduler is pipeline.scheduler


@pytest.mark.parametrize("arguments", [{"low_cpu_mem_usage": False}, {"device_map": "cpu"}, {"local_files_only": True}])
def test_arguments_of_diffusers_work(saved, arguments):
    assert torch.isfinite(next(DigitPipeline.from_pretrained(saved, **arguments).denoiser.parameters())).all()


SCHEDULERS = [name for name in dir(diffusers) if name.endswith("Scheduler") and name[:4] != "Flax"]


def test_every_scheduler_of_diffusers_passes_as_it_was_saved(saved):
    """Catches an annotation of theirs that their own defaults do not have."""
    for name in SCHEDULERS:
        cls = getattr(diffusers, name)
        if not issubclass(cls, diffusers.SchedulerMixin):
            continue  # a stand-in: a library is missing
        shutil.rmtree(saved / "scheduler", ignore_errors=True)
        try:
            cls().save_pretrained(saved / "scheduler")
        except (TypeError, ImportError):
            continue  # needs arguments, or a library
        change(saved / INDEX, scheduler=["diffusers", name])
        start_clock()
        check_folder(saved)


SMALL = {
    "hidden_size": 16,
    "max_position_embeddings": 64,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "vocab_size": 1_000,
}
ENCODERS = {
    "CLIPTextModel": SMALL,
    "CLIPTextModelWithProjection": SMALL,
    "BertModel": SMALL,
    "T5EncoderModel": {"d_model": 16, "d_ff": 16, "d_kv": 8, "num_layers": 1, "num_heads": 2, "vocab_size": 1_000},
}


@pytest.mark.parametrize("name", ENCODERS)
def test_every_text_encoder_passes_as_it_was_saved(saved_text, name):
    """T5 saves one name of the two that its embedding has."""
    cls = getattr(transformers, name)
    shutil.rmtree(saved_text / "text_encoder")
    cls(cls.config_class(**ENCODERS[name])).save_pretrained(saved_text / "text_encoder")
    change(saved_text / INDEX, text_encoder=["transformers", name])
    check_folder(saved_text)


def clip():
    vocabulary = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2, "a": 3, "b": 4, "ab": 5}
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=[("a", "b")])


def bert():
    return transformers.BertTokenizer(vocab={"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 5})


def t5():
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0), ("a", -1.0)]
    return transformers.T5Tokenizer(vocab=pieces, extra_ids=2)


@pytest.mark.skipif(transformers.__version__ < "5", reason="older tokenizers are made of files")
@pytest.mark.parametrize("make", [clip, bert, t5])
def test_every_tokenizer_passes_as_it_was_saved(saved_text, make):
    shutil.rmtree(saved_text / "tokenizer")
    make().save_pretrained(saved_text / "tokenizer")
    change(saved_text / INDEX, tokenizer=["transformers", type(make()).__name__])
    loaded = check_folder(saved_text)[2]["tokenizer"]
    assert loaded("a b").input_ids == make()("a b").input_ids


@pytest.mark.parametrize("vae", [diffusers.AutoencoderKL, diffusers.AutoencoderTiny])
def test_autoencoders_pass_as_they_were_saved(saved, vae):
    options = {"block_out_channels": (8,), "norm_num_groups": 4} if vae is diffusers.AutoencoderKL else {}
    vae(latent_channels=1, **options).save_pretrained(saved / "vae")
    change(saved / INDEX, vae=["diffusers", vae.__name__])
    check_folder(saved)


def test_old_names_of_weights_pass(saved_text):
    """transformers 4 saved CLIP's with a first part more, and positions that nobody reads."""

    def rename(weights):
        for name in list(weights):
            weights[f"text_model.{name}"] = weights.pop(name)
        weights["text_model.embeddings.position_ids"] = torch.arange(32)[None]

    rewrite(saved_text / "text_encoder" / "model.safetensors", rename)
    check_folder(saved_text)


def test_shards_and_variants_of_a_class_load(tmp_path):
    model = randomize(TINY["UNet"]())
    model.save_pretrained(tmp_path, max_shard_size="50KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    loaded = DigitUNet2DModel.from_pretrained(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True))
    model.half().save_pretrained(tmp_path / "half", variant="fp16")
    assert (
        DigitUNet2DModel.from_pretrained(tmp_path / "half", variant="fp16", torch_dtype=torch.float16).dtype
        == torch.half
    )


def test_a_class_opens_no_pickles(tmp_path):
    model = TINY["UNet"]()
    model.save_pretrained(tmp_path, safe_serialization=False)
    with pytest.raises(ValueError, match="holds no diffusion_pytorch_model.safetensors but .*bin"):
        DigitUNet2DModel.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="use_safetensors: got False"):
        DigitUNet2DModel.from_pretrained(tmp_path, use_safetensors=False)


# --- info ------------------------------------------------------------------------------------------------------------


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
