"""Training on captions: tokens reach the model, the encoder is trained, saved and resumed with the denoiser."""

import pytest
import torch
from safetensors.torch import load_file

from text2digit import DigitPipeline, TextConditionedDigitPipeline
from text2digit.config import load_config
from text2digit.models.text import TextDenoiser, build_text_encoder
from text2digit.training import captions, plan, prepare_run, train
from text2digit.training.captions import TextCoder
from text2digit.training.objective import denoising_loss, noisy_batch

from .conftest import TINY_RUN, cut_at

TEXT = ["text.captions=true", "text.width=16", "text.layers=1", "text.heads=2"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def text_config(tmp_path):
    return lambda name, *more: load_config("unet", [*TINY_RUN, *TEXT, f"training.output_dir={tmp_path / name}", *more])


def draw_of(run, step=0, dropout=0.5):
    t = run.config.training
    return noisy_batch(run.data, step, 64, t.seed, run.scheduler.path, dropout, run.config.objective, run.text.training)


def test_a_draw_has_captions_of_its_images_and_nothing_where_dropped(text_config):
    """Catches captions that are dropped for other images than the labels are, or in another order."""
    run = prepare_run(text_config("run"))
    batch = draw_of(run)
    empty = batch.text["attention_mask"].sum(dim=1) == 2
    assert torch.equal(empty, batch.class_labels == 10) and 10 < empty.sum() < 54
    again, later = draw_of(run), draw_of(run, step=1)
    assert torch.equal(batch.text["input_ids"], again.text["input_ids"])
    assert not torch.equal(batch.text["input_ids"], later.text["input_ids"])
    part = batch.take(torch.tensor([3, 5]))
    assert torch.equal(part.text["input_ids"], batch.text["input_ids"][[3, 5]])
    run.close()


def test_gradients_reach_denoiser_and_encoder(text_config):
    """Catches an encoder outside the optimizer, and tokens that never get there."""
    run = prepare_run(text_config("run", "training.max_train_steps=8"))
    assert isinstance(run.bare_model, TextDenoiser)
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    train(run)
    moved = {name for name, p in run.model.named_parameters() if not torch.equal(p, before[name])}
    still = {name for name in set(before) - moved if not name.endswith(("to_k.bias", "k_proj.bias"))}
    assert not still, still  # a bias of keys moves all of a softmax alike


def test_the_saved_pipeline_has_the_averaged_encoder(text_config):
    """Catches an encoder that is saved with its last weights, or with fresh ones."""
    run = prepare_run(text_config("run"))
    folder = train(run)
    pipe = DigitPipeline.from_pretrained(folder)
    assert type(pipe) is TextConditionedDigitPipeline and pipe.tokenizer("seven").input_ids
    saved = load_file(folder / "text_encoder" / "model.safetensors")
    for name, average in run.average.state().items():
        if name.startswith("text_encoder."):
            assert torch.equal(saved[name.removeprefix("text_encoder.")], average), name
    pipe.set_progress_bar_config(disable=True)
    assert pipe(["7", "칠"], num_inference_steps=2, generator=0, output_type="pt").images.shape == (2, 1, 8, 8)


def test_looking_at_a_run_leaves_it_untouched(text_config):
    """Catches averages that are copied into the model in training."""
    ends = []
    for name, every in (("often", 2), ("never", 100)):
        run = prepare_run(text_config(name, "training.max_train_steps=6", f"training.validation_steps={every}"))
        train(run)
        ends.append(torch.cat([p.flatten() for p in run.model.parameters()]))
    assert torch.equal(*ends)


def test_a_run_that_was_cut_off_ends_the_same(text_config, monkeypatch):
    """Bit for bit, weights, moments and the saved pipeline; catches captions drawn from a global generator."""
    whole = train(prepare_run(text_config("whole")))
    with monkeypatch.context() as patch:
        cut_at(7, patch)
        run = prepare_run(text_config("cut"))
        with pytest.raises(RuntimeError, match="cut off"):
            train(run)
    torch.manual_seed(123)
    cut = train(prepare_run(text_config("cut")))
    files = [*(whole / "checkpoint-000012").glob("*"), *whole.glob("*/*.safetensors"), *(whole / "tokenizer").glob("*")]
    assert len(files) > 8
    for path in files:
        assert path.read_bytes() == (cut / path.relative_to(whole)).read_bytes(), path.name


def test_a_frozen_encoder_is_read_once_and_not_trained(text_config, tokenizer, tmp_path, monkeypatch):
    encoder = build_text_encoder(tokenizer, 8, 1, 2)
    encoder.save_pretrained(tmp_path / "encoder")
    tokenizer.save_pretrained(tmp_path / "encoder")
    run = prepare_run(text_config("run", f"text.encoder={tmp_path / 'encoder'}"))
    assert run.bare_model.config.cross_attention_dim == 8
    batch = draw_of(run)
    assert batch.text["encoder_hidden_states"].shape == (64, 32, 8)
    errors = denoising_loss(run.model, run.scheduler, batch, run.accelerator.device, run.config.objective)
    assert errors.isfinite().all()
    monkeypatch.setattr(captions, "encode", None)  # a second reading would fail
    assert torch.equal(draw_of(run).text["encoder_hidden_states"], batch.text["encoder_hidden_states"])
    monkeypatch.undo()
    folder = train(run)
    saved = load_file(folder / "text_encoder" / "model.safetensors")
    assert all(torch.equal(saved[name], value) for name, value in encoder.state_dict().items())


def test_embeddings_that_are_kept_have_a_limit(tokenizer, monkeypatch):
    """Catches a cache that grows with every new caption until memory ends."""
    monkeypatch.setattr(captions, "CACHE_BYTES", 3 * 16 * 8 * 4)
    coder = TextCoder(tokenizer, 16, build_text_encoder(tokenizer, 8, 1, 2).eval())
    for i in range(10):
        coder([str(i), "seven"])
    kept = coder.embedding.cache_info()
    assert kept.currsize == 3 and kept.hits == 9  # "seven", each time but the first


def test_what_does_not_fit_says_so(text_config):
    with pytest.raises(ValueError, match="text.encoder: got 'x' for a run on classes; add text.captions=true"):
        load_config("unet", ["text.encoder=x"])
    assert plan(text_config("planned"))["parameters"] > 0
