"""Which weights are shared: those that `from_pretrained` can ask for, whole."""

import json
import shutil

import pytest
from safetensors.torch import load_file

from text2digit import DigitPipeline
from text2digit.sharing.facts import read_facts
from text2digit.sharing.tree import build_tree

from ..conftest import make_text_pipeline
from .conftest import SECRET, files_of
from .hub_server import Repository


@pytest.mark.parametrize("stray", ["model.safetensors", "a.safetensors", "diffusion_pytorch_model.old.safetensors"])
def test_stray_weights_neither_go_nor_change_what_is_told(source, tmp_path, stray):
    """They changed the hash that a report is known by, so its figures vanished; and `info` counted their weights."""
    before = read_facts(source).denoiser
    shutil.copyfile(source / "denoiser" / "diffusion_pytorch_model.safetensors", source / "denoiser" / stray)
    assert read_facts(source).denoiser == before
    entries = build_tree(source, tmp_path / "tree", "ada/x")
    assert f"denoiser/{stray}" not in {entry.name for entry in entries}
    assert "## Measured" in (tmp_path / "tree" / "README.md").read_text(encoding="utf-8")


def test_sharded_weights_and_variants_are_shared(source, tmp_path):
    """All that `from_pretrained` can ask for; shards that no index names are left."""
    pipe = DigitPipeline.from_pretrained(source)
    pipe.save_pretrained(source, variant="fp16")
    tensors = load_file(source / "denoiser" / "diffusion_pytorch_model.safetensors")
    pipe.denoiser.save_pretrained(source / "denoiser", max_shard_size="30KB")
    (source / "denoiser" / "diffusion_pytorch_model.safetensors").unlink(missing_ok=True)
    shutil.copyfile(
        source / "denoiser" / "diffusion_pytorch_model.fp16.safetensors",
        source / "denoiser" / "diffusion_pytorch_model-00077-of-00099.safetensors",
    )
    assert read_facts(source).denoiser.parameters == sum(tensor.numel() for tensor in tensors.values())
    names = {entry.name.partition("/")[2] for entry in build_tree(source, tmp_path / "tree", "ada/x")}
    assert {"diffusion_pytorch_model.safetensors.index.json", "diffusion_pytorch_model.fp16.safetensors"} <= names
    assert "diffusion_pytorch_model-00077-of-00099.safetensors" not in names
    assert sum("-of-" in name for name in names) > 1
    DigitPipeline.from_pretrained(tmp_path / "tree")
    DigitPipeline.from_pretrained(tmp_path / "tree", variant="fp16")


def test_a_text_model_is_shared_whole(tokenizer, tmp_path):
    make_text_pipeline(tokenizer).save_pretrained(tmp_path / "words")
    (tmp_path / "words" / "tokenizer" / "config.json").write_bytes(SECRET)
    path = tmp_path / "words" / "tokenizer" / "tokenizer_config.json"
    places = dict.fromkeys(("name_or_path", "special_tokens_map_file"), "/home/ada/x")
    path.write_text(json.dumps({**json.loads(path.read_text()), **places}))
    names = {entry.name for entry in build_tree(tmp_path / "words", tmp_path / "tree", "ada/words")}
    wanted = {"text_encoder/config.json", "text_encoder/model.safetensors", "tokenizer/tokenizer.json"}
    assert wanted | {"tokenizer/tokenizer_config.json"} <= names and "tokenizer/config.json" not in names
    assert "/home/ada" not in (tmp_path / "tree" / "tokenizer" / "tokenizer_config.json").read_text()
    DigitPipeline.from_pretrained(tmp_path / "tree")


def test_a_download_from_the_hub_can_be_shared(hub, client, built):
    """The cache of downloads is made of links into itself, which are no links to elsewhere."""
    hub.repositories["ada/cached"] = Repository()
    hub.repositories["ada/cached"].commit("main", files_of(built.folder))
    code = """
from pathlib import Path
from text2digit.pipelines.loading import find_pipeline_folder
from text2digit.sharing.tree import build_tree
source = find_pipeline_folder("ada/cached", {})
assert (source / "denoiser" / "config.json").is_symlink()
result = [entry.name for entry in build_tree(source, Path(out), "ada/again")]
(source / "denoiser" / "config.json").unlink()
(source / "denoiser" / "config.json").symlink_to(elsewhere)
build_tree(source, Path(out + "2"), "ada/again")
"""
    values = {"out": str(client.folder / "again"), "elsewhere": str(built.folder / "denoiser" / "config.json")}
    answer = client.run(code, **values)
    assert answer.result and "denoiser/diffusion_pytorch_model.safetensors" in answer.result
    assert "denoiser/config.json: is a link, and links are not shared" in answer.error
