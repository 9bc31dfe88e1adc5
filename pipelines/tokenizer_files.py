"""What a saved tokenizer may hold: steps that cannot let a text grow without bounds, and no name of another file.

The tokenizers library ends the whole process when it runs out of memory, so its files are checked before it reads them.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..models.saved import as_value_error, check_config, check_values, fits, read_json

# None of these steps makes a text longer by more than a constant factor.
STEPS = (
    *("Sequence", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Lowercase", "Strip", "StripAccents", "BertNormalizer"),
    *("Replace", "Prepend", "Precompiled", "Split", "Digits", "ByteLevel", "BertPreTokenizer", "Metaspace"),
    *("Whitespace", "WhitespaceSplit", "Punctuation", "TemplateProcessing", "BertProcessing", "RobertaProcessing"),
)
MOST_STEPS, LONGEST_PART, LONGEST_REPLACEMENT = 8, 4_000, 64
# The expressions that transformers gives CLIP, T5 and BERT; another one could take exponential time.
CLIP_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
EXPRESSIONS = (r"\s+", " {2,}", CLIP_WORDS)
# Keys of tokenizer_config.json and special_tokens_map.json.
SETTINGS = """
additional_special_tokens extra_special_tokens extra_ids never_split model_max_length padding_side truncation_side
bos_token eos_token unk_token pad_token sep_token cls_token mask_token added_tokens_decoder errors legacy is_local
clean_up_tokenization_spaces split_special_tokens model_input_names tokenizer_class name_or_path backend
special_tokens_map_file local_files_only add_prefix_space do_lower_case do_basic_tokenize strip_accents
tokenize_chinese_chars max_length truncation_strategy pad_to_multiple_of pad_token_type_id add_bos_token add_eos_token
"""
VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt")


def load_tokenizer(folder: Path, cls: Any) -> Any:
    """Check the files of a tokenizer, which `check_files` let pass, and load it.

    Args:
        folder: of the tokenizer.
        cls: a class of transformers' tokenizers.

    Raises:
        ValueError: names the file, and what in it is wrong.
    """
    if not any((folder / name).is_file() for name in VOCABULARIES):
        raise ValueError(f"{folder}: holds none of {', '.join(VOCABULARIES)}; save the tokenizer again.")
    for path in (folder / "tokenizer_config.json", folder / "special_tokens_map.json"):
        if path.is_file():
            check_config(path, read_json(path), dict.fromkeys(SETTINGS.split(), (object,)))
    if (folder / VOCABULARIES[0]).is_file():
        _check_steps(folder / VOCABULARIES[0])
    with as_value_error(folder):
        return cls.from_pretrained(folder, local_files_only=True)


def _check_steps(path: Path) -> None:
    """tokenizer.json: what it does to a text, and the numbers of its padding."""
    content = read_json(path)
    if not fits(content, dict[str, object]) or not fits(content.get("model"), dict[str, object]):
        raise ValueError(f"{path}: holds {content!r:.60}, expected an object with a model; save the tokenizer again.")
    check_values(path, {**content, "model": {**content["model"], "vocab": None, "merges": None}}, longest=500_000)
    for part in ("normalizer", "pre_tokenizer", "post_processor"):
        steps = list(_nodes(content.get(part)))
        tables = [step.pop("precompiled_charsmap") for step in steps if "precompiled_charsmap" in step]
        for step in steps:
            _check_step(path, part, step)
        count, size = sum("type" in step for step in steps), len(json.dumps(content.get(part)))
        if count > MOST_STEPS or size > LONGEST_PART or len(tables) > 1 or not all(map(_is_short, tables)):
            raise ValueError(
                f"{path}: {part} has {count} steps in {size:,} characters and {len(tables)} tables of characters, "
                f"expected at most {MOST_STEPS} in {LONGEST_PART:,}, and one table of short replacements."
            )


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _nodes(child)


def _check_step(path: Path, part: str, step: dict[str, Any]) -> None:
    text = step.get("content", step.get("prepend", ""))
    known = step.get("Regex", EXPRESSIONS[0]) in EXPRESSIONS and step.get("String") != ""
    if not known or str(step.get("type", "Sequence")) not in STEPS or len(str(text)) > 1:
        raise ValueError(
            f"{path}: {part} has a step {step!r:.80}, expected one of {', '.join(STEPS)}, which looks for plain "
            f"text or one of {EXPRESSIONS} and puts at most one character in its place."
        )


def _is_short(table: Any) -> bool:
    """Whether no replacement is long: a table is the size of an index, the index, and texts that each end with a 0."""
    try:
        content = base64.b64decode(table, validate=True)
    except (TypeError, ValueError):
        return False
    texts = content[4 + int.from_bytes(content[:4], "little") :].split(b"\0")
    return max(map(len, texts)) <= LONGEST_REPLACEMENT
