"""What is valid loads: the checks of damaged folders refuse none of it."""

import os
import shutil

import diffusers
import pytest
import torch
import transformers

from text2digit import DigitPipeline, DigitUNet2DModel
from text2digit.pipelines.stored import check_folder

from ...conftest import TINY, randomize
from .conftest import INDEX, SCHEDULER, change, rewrite, start_clock


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
