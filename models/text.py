"""Words for the denoisers: a tokenizer trained on captions, a small text encoder, and both models as one to train.

Dimension letters: B batch, S tokens of the text, D width of the text.
"""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import nn
from transformers import AutoModelForTextEncoding, AutoTokenizer, CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from .dit import DigitDiT2DModel
from .unet import DigitUNet2DModel

PAD, START, END = "<|pad|>", "<|start|>", "<|end|>"


def train_tokenizer(texts: Iterable[str], vocab_size: int, max_length: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE (1508.07909 on bytes, as GPT-2 has it): frequent words are one token, and no text is out of reach.

    Compatibility forms are folded and capitals lowered. Equal texts give an equal tokenizer.

    Args:
        texts: to learn the merges of.
        vocab_size: tokens in all, from 259 up: the bytes and three marks.
        max_length: tokens that a text is padded and cut to, with its marks of start and end.

    Raises:
        ValueError: too small a vocabulary.
    """
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = [PAD, START, END]
    if vocab_size < len(alphabet) + len(special):
        raise ValueError(f"text.vocab_size: got {vocab_size}, expected {len(alphabet) + len(special)} or more.")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size, special_tokens=special, initial_alphabet=sorted(alphabet), show_progress=False
        ),
    )
    ids = [(token, tokenizer.token_to_id(token)) for token in (START, END)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{START} $A {END}", special_tokens=ids)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, bos_token=START, eos_token=END, model_max_length=max_length
    )


def build_text_encoder(tokenizer: PreTrainedTokenizerFast, width: int, layers: int, heads: int) -> CLIPTextModel:
    """A `CLIPTextModel` (2103.00020, section 2.4) with fresh weights, for the tokenizer's vocabulary and length.

    Args:
        tokenizer: of its texts.
        width: D, a multiple of `heads`; the MLPs are twice as wide.
        layers, heads: of the transformer.

    Raises:
        ValueError: a width that the heads do not divide.
    """
    if width % heads:
        raise ValueError(f"text.width: got {width}, which {heads} heads do not divide; use a multiple.")
    encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            projection_dim=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    # CLIP's 0.02 would drown in the residual stream, and which word it is would have to be learned out of it first.
    nn.init.normal_(cast(nn.Embedding, encoder.get_input_embeddings()).weight)
    return encoder


def load_text_encoder(name_or_path: str, local_files_only: bool = False) -> tuple[Any, Any]:
    """A text encoder of transformers and its tokenizer, frozen.

    Args:
        name_or_path: a folder, or "user/name" on the Hub; of an encoder and decoder in one, such as T5, the encoder.
        local_files_only: download nothing.

    Raises:
        ValueError: it is no text encoder that transformers knows, or is not to be had.
    """
    try:
        encoder = AutoModelForTextEncoding.from_pretrained(name_or_path, local_files_only=local_files_only)
        tokenizer = AutoTokenizer.from_pretrained(name_or_path, local_files_only=local_files_only)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"text.encoder: got {name_or_path!r}, expected the folder or Hub name of a text encoder of transformers "
            f"with its tokenizer: {error}"
        ) from error
    return encoder.eval().requires_grad_(False), tokenizer


def tokenize(tokenizer: Any, texts: Sequence[str], max_length: int) -> dict[str, torch.Tensor]:
    """`input_ids` and `attention_mask`, (B, max_length) int64 each: longer texts are cut, shorter ones padded."""
    size = {"padding": "max_length", "truncation": True, "max_length": max_length}
    tokens = tokenizer(list(texts), **size, return_tensors="pt", return_attention_mask=True)
    return {name: tokens[name] for name in ("input_ids", "attention_mask")}


def encode(text_encoder: Any, tokens: dict[str, torch.Tensor]) -> torch.Tensor:
    """(B, S, D): the last hidden states of `tokenize`'s tokens."""
    inputs = {name: tokens[name] for name in ("input_ids", "attention_mask")}
    return text_encoder(**inputs, return_dict=True).last_hidden_state


class TextDenoiser(nn.Module):
    """A denoiser and the text encoder that is trained with it: one model to optimizer, averages and checkpoints.

    Args:
        denoiser: with cross-attention as wide as the encoder.
        text_encoder: of `build_text_encoder`.
    """

    def __init__(self, denoiser: DigitUNet2DModel | DigitDiT2DModel, text_encoder: CLIPTextModel):
        super().__init__()
        self.denoiser = denoiser
        self.text_encoder = text_encoder
        self._no_split_modules = [*(denoiser._no_split_modules or []), "CLIPEncoderLayer"]

    @property
    def config(self) -> Any:
        """The denoiser's."""
        return self.denoiser.config

    def fresh(self) -> "TextDenoiser":
        """Another of the same sizes, with fresh weights."""
        denoiser, encoder = self.denoiser, self.text_encoder
        return TextDenoiser(type(denoiser).from_config(denoiser.config), type(encoder)(encoder.config))

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> Any:
        """Encode the tokens, (B, S) each, and predict; the rest as in the denoiser's forward."""
        hidden_states = encode(self.text_encoder, {"input_ids": input_ids, "attention_mask": attention_mask})
        return self.denoiser(
            sample, timestep, encoder_hidden_states=hidden_states, encoder_attention_mask=attention_mask
        )
