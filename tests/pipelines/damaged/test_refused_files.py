"""Files that are never opened, and keys, types and maps of shards that are refused."""

import json
import os
from pathlib import Path

import pytest

from text2digit import DigitPipeline

from .conftest import INDEX, SCHEDULER, WEIGHTS, change, refused


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
