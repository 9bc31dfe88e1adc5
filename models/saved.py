"""What a saved component may hold: its files, keys, sizes and weights are checked before any loader opens them.

A folder may come from anyone. Each check raises a `ValueError` that names the file, what it holds and what is expected.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import Parameter, signature
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import torch
from diffusers.models.modeling_utils import ModelMixin, no_init_weights
from safetensors import SafetensorError, safe_open

# Bytes of a file that is read whole, by the end of its name; the first that matches counts. Weights have no bound.
LARGEST_FILES = {r"tokenizer\.json|vocab\.json|\.txt|\.model|\.index.*\.json": 20_000_000, r"\.jsonl": 200_000_000}
# A parser of YAML takes time that grows with the square of some numbers' length; a recipe has 2 kB.
LARGEST_FILES |= {r"\.yaml": 64_000, r"\.json|\.jinja": 4_000_000, r"\.safetensors": 2**50}
WEIGHTS_STEMS = ("diffusion_pytorch_model", "model")  # by diffusers and by transformers
VARIANTS = ("", ".fp16", ".bf16")  # of weights; any other is checked when it is asked for
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".msgpack", ".h5")
# Files that a loader follows to other weights, other code or other vocabularies when it finds them.
FOLLOWED = re.compile(r"adapter_.*|tekken\.json|tiktoken.*|tokenizer\.model.*|.*\.gguf|additional_chat_templates")

# Bounds of numbers, by a part of the key; the first that matches counts. Two are written without a limit by libraries.
LARGEST_NUMBERS: dict[str, float] = dict.fromkeys(("model_max_length", "lambda_min_clipped"), math.inf)
LARGEST_NUMBERS |= {"layers": 128, "blocks": 128, "timesteps": 100_000}
LARGEST_NUMBERS |= dict.fromkeys(("sample_size", "prompt_tokens", "max_length", "Fixed", "multiple_of"), 4_096)
LARGEST_NUMBERS |= {"inference_steps": 10_000, "extra_ids": 1_000, "max_input_chars": 1_000, "stride": 0, "": 2**20}
LONGEST_LIST, LONGEST_TEXT, DEEPEST = 100_000, 10_000, 8
LARGEST_TABLES = 2**28  # bytes that a model computes from its config, beside its weights
# What diffusers adds to every configuration that it writes.
RECORDED: dict[str, tuple[Any, ...]] = dict.fromkeys(("_class_name", "_diffusers_version", "_name_or_path"), (str,))
# Keys of text encoders that other versions of transformers wrote.
RECORDED_BY_TRANSFORMERS = (
    *("_name_or_path", "torch_dtype", "dtype", "model_type", "gradient_checkpointing", "position_embedding_type"),
    *("decoder_start_token_id", "output_past", "n_positions", "task_specific_params", "use_cache"),
)


@contextmanager
def as_value_error(where: str | Path) -> Iterator[None]:
    """Tell any error of a library as a `ValueError` that names a file or folder."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except ValueError as error:
        if str(where) in str(error):
            raise
        raise ValueError(f"{where}: {error}") from error
    except BaseException as error:
        # A panic of the tokenizers library is no Exception.
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            message = f"{where}: is damaged or no saved model ({type(error).__name__}: {error}); save it again."
            raise ValueError(message) from error
        raise


def check_file(path: Path, root: Path) -> None:
    """Refuse what is no regular file, is too large to be read, or lies outside of the folder that is loaded.

    Args:
        path: of the file.
        root: folder that is loaded. In the Hub's cache its files are links into `blobs`.

    Raises:
        ValueError: names the file.
    """
    home = root.resolve()
    homes = [home, *(parent.parent / "blobs" for parent in home.parents if parent.name == "snapshots")]
    with as_value_error(path):
        real = path.resolve(strict=True)
    if not any(real.is_relative_to(place) for place in homes):
        raise ValueError(f"{path}: is a link to {real}, expected a file inside {root}; copy the file there.")
    if not real.is_file():
        raise ValueError(f"{path}: expected a regular file; save the model again.")
    largest = next(size for ending, size in LARGEST_FILES.items() if re.search(f"({ending})$", path.name.lower()))
    if real.stat().st_size > largest:
        raise ValueError(f"{path}: has {real.stat().st_size:,} bytes, expected at most {largest:,}.")


def check_files(folder: Path, root: Path) -> None:
    """`check_file` of everything in a component's folder that a loader opens."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: is no folder, expected that of a component; save the pipeline again.")
    for path in sorted(folder.iterdir()):
        if FOLLOWED.fullmatch(path.name.lower()):
            raise ValueError(f"{path}: leads a loader to other files, expected none such; delete it.")
        if re.search(f"({'|'.join(LARGEST_FILES)})$", path.name.lower()):
            check_file(path, root)


def read_json(path: Path) -> Any:
    """Content of a JSON file that `check_file` let pass."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is no JSON that can be read ({error}); save the model again.") from error


def check_values(path: Path, value: Any, key: str = "", longest: int = LONGEST_TEXT, depth: int = 0) -> None:
    """Refuse numbers, texts and lists without bounds anywhere in a configuration."""
    if depth > DEEPEST:
        raise ValueError(f"{path}: {key} is nested deeper than {DEEPEST} levels.")
    if isinstance(value, dict | list):
        if len(value) > LONGEST_LIST:
            raise ValueError(f"{path}: {key} has {len(value):,} entries, expected at most {LONGEST_LIST:,}.")
        for name, item in value.items() if isinstance(value, dict) else ((key, item) for item in value):
            check_values(path, item, name, longest, depth + 1)
    elif isinstance(value, str) and len(value) > longest:
        raise ValueError(f"{path}: {key} has {len(value):,} characters, expected at most {longest:,}.")
    elif isinstance(value, int | float):
        largest = next(number for part, number in LARGEST_NUMBERS.items() if part in key)
        if not abs(value) <= largest:
            raise ValueError(f"{path}: {key}: got {value!r:.40}, expected {-largest:,} to {largest:,}.")


def check_config(path: Path, config: Any, known: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
    """Refuse keys that nobody knows, and values of another type or without bounds.

    Args:
        path: of the configuration.
        config: its content.
        known: types that each key may have.

    Returns:
        The content.

    Raises:
        ValueError: names file and key.
    """
    if not isinstance(config, dict):
        raise ValueError(f"{path}: holds {config!r:.40}, expected an object with keys; save the model again.")
    check_values(path, config)
    for key, value in config.items():
        if key not in known:
            raise ValueError(f"{path}: has a key {key!r:.60}, expected some of {', '.join(sorted(known))}; remove it.")
        if not any(fits(value, hint) for hint in known[key]):
            expected = " or ".join(dict.fromkeys(_name(hint) for hint in known[key]))
            raise ValueError(f"{path}: {key}: got {value!r:.60}, expected {expected}.")
    return config


def constructor_hints(cls: type) -> dict[str, tuple[Any, ...]]:
    """Types that each argument of a constructor may have: its annotation, and that of its default."""
    hints = get_type_hints(cls.__init__)  # type: ignore[misc]
    parameters = list(signature(cls.__init__).parameters.values())[1:]  # type: ignore[misc]
    return {
        p.name: (hints.get(p.name, object), type(p.default)) for p in parameters if p.kind is not Parameter.VAR_KEYWORD
    }


def _name(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " or ".join(repr(value) for value in get_args(hint))
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)


def fits(value: Any, hint: Any) -> bool:
    """Whether a value of JSON is of an annotated type; where the annotation tells nothing, any value is."""
    origin, parts = get_origin(hint) or hint, get_args(hint)
    if origin in (Union, UnionType):
        return any(fits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if origin in (list, tuple):
        inner = tuple(part for part in parts if part is not Ellipsis) or (float,)
        return isinstance(value, list) and all(any(fits(item, part) for part in inner) for item in value)
    if origin is dict:
        inner = parts[1:] or (str,)
        return isinstance(value, dict) and all(fits(item, inner[0]) for item in value.values())
    if origin in (int, float):
        return isinstance(value, int if origin is int else (int, float)) and not isinstance(value, bool)
    return origin is Any or not isinstance(origin, type) or isinstance(value, origin)


def safetensors_header(path: Path) -> dict[str, dict[str, Any]]:
    """Dtype and shape of each tensor in a file, of which the library reads the header alone.

    Raises:
        ValueError: it is no safetensors file, or its tensors do not fill it from end to end.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_slice(name) for name in file.offset_keys()}
            return {name: {"dtype": t.get_dtype(), "shape": t.get_shape()} for name, t in tensors.items()}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: is no safetensors file, or damaged ({error}); save the model again.") from error


def check_model(folder: Path, cls: Any, variant: str | None = None) -> Any:
    """Check the configuration and all weights of a model, without allocating one of them.

    Args:
        folder: of the model, whose files `check_files` let pass.
        cls: a class of diffusers' or transformers' models.
        variant: that is loaded next, if it is another one than `VARIANTS`.

    Returns:
        The model with all its sizes, on the meta device, where a tensor has no memory.

    Raises:
        ValueError: names the file, and the keys or weights in it that are wrong.
    """
    path = folder / "config.json"
    config = read_json(path)
    of_transformers = hasattr(cls, "config_class")
    if of_transformers:
        keys = (*cls.config_class().to_dict(), *RECORDED_BY_TRANSFORMERS)
        known = dict.fromkeys(keys, (object,))
    else:
        known = constructor_hints(cls) | RECORDED | {"_class_name": (Literal[cls.__name__],)}
    used = {key: value for key, value in config.items() if key in known} if isinstance(config, dict) else config
    check_config(path, used, known)
    with as_value_error(path), no_init_weights(), torch.device("meta"):
        skeleton = cls(cls.config_class.from_dict(used)) if of_transformers else cls.from_config(used)
    # AutoencoderTiny writes more keys than it has arguments.
    check_config(path, config, known if of_transformers else dict.fromkeys(skeleton.config, (object,)) | known)
    if sum(table.numel() * table.element_size() for table in skeleton.buffers()) > LARGEST_TABLES:
        raise ValueError(f"{path}: asks for tables of more than {LARGEST_TABLES:,} bytes; make its sizes smaller.")
    # Versions of transformers differ in the first part of a name, and in what they save that nobody reads.
    prefix = f"^(text_model|{cls.base_model_prefix})[.]" if of_transformers else "^$"
    unread = "|".join(["position_ids$", *(cls._keys_to_ignore_on_load_unexpected or ())]) if of_transformers else "^$"
    expected = {re.sub(prefix, "", name): tensor for name, tensor in skeleton.state_dict(keep_vars=True).items()}
    for file, header in _weights(folder, WEIGHTS_STEMS[of_transformers], variant):
        found = {re.sub(prefix, "", name): tensor for name, tensor in header.items() if not re.search(unread, name)}
        if faults := _faults(found, expected):
            more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
            raise ValueError(f"{file}: does not fit {path}: {'; '.join(faults[:5])}{more}; save the model again.")
    return skeleton


def _faults(found: dict[str, dict[str, Any]], expected: dict[str, torch.Tensor]) -> list[str]:
    """How the tensors of a file differ from those of a model. Of tensors that are tied, one is enough."""
    tied: dict[int, set[str]] = {}
    for name, tensor in expected.items():
        tied.setdefault(id(tensor), set()).add(name)
    faults = [f"lacks {min(names)}" for names in tied.values() if not found.keys() & names]
    for name, have in found.items():
        if name not in expected:
            faults.append(f"has {name:.80}, which is unknown")
            continue
        shape, floats = list(expected[name].shape), expected[name].is_floating_point()
        if have["shape"] != shape or floats != ("F" in have["dtype"]):
            faults.append(f"has {name} as {have['dtype']} {have['shape']}, expected {shape}")
    return faults


def _weights(folder: Path, stem: str, variant: str | None) -> Iterator[tuple[Path, dict[str, dict[str, Any]]]]:
    """Each file, or index of shards, that a model is loaded from, with the tensors in it."""
    found = [path for each in dict.fromkeys((*VARIANTS, f".{variant}")) for path in _places(folder, stem, each)]
    for path in found:
        yield path, _sharded(path) if path.suffix == ".json" else safetensors_header(path)
    if not found:
        pickles = [path.name for path in sorted(folder.iterdir()) if path.suffix.lower() in PICKLES]
        raise ValueError(
            f"{folder}: holds no {stem}.safetensors{' but ' + ', '.join(pickles) if pickles else ''}, expected weights "
            "in safetensors: a pickle can run code and is never opened; save the model again in safetensors."
        )


def _places(folder: Path, stem: str, variant: str) -> list[Path]:
    """The index of shards and the single file that weights may be in, as far as they exist."""
    names = (f"{stem}.safetensors.index{variant}.json", f"{stem}{variant}.safetensors")
    return [folder / name for name in names if (folder / name).exists()]


def _sharded(path: Path) -> dict[str, dict[str, Any]]:
    """The tensors in all shards of an index."""
    index = check_config(path, read_json(path), {"metadata": (object, dict), "weight_map": (dict,)})
    if len(index) < 2:
        raise ValueError(f"{path}: has {', '.join(index) or 'no key'}, expected metadata and weight_map.")
    tensors: dict[str, dict[str, Any]] = {}
    for name in {str(name) for name in index["weight_map"].values()}:
        shard = path.with_name(Path(name).name or "-")
        if shard.name != name or "\\" in name or not shard.is_file() or shard.suffix != ".safetensors":
            raise ValueError(
                f"{path}: points to {name!r:.60}, expected a safetensors file beside it, where all weights lie."
            )
        tensors |= safetensors_header(shard)
    if index["weight_map"].keys() != tensors.keys():
        raise ValueError(f"{path}: names other weights than its files hold; save the model again.")
    return tensors


def weight_files(folder: Path, variant: str = "") -> list[Path]:
    """Return the safetensors that a component is loaded from, sorted; none if it has no weights.

    Args:
        folder: of the component. `check_model` has accepted its index, if it has one.
        variant: one of `VARIANTS`.
    """
    for path in (place for stem in WEIGHTS_STEMS for place in _places(folder, stem, variant)):
        if path.suffix == ".json":
            return sorted({folder / shard for shard in read_json(path)["weight_map"].values()})
        return [path]
    return []


def ask_for_safetensors(arguments: dict[str, Any]) -> None:
    """Set `use_safetensors` among the arguments of a `from_pretrained`; refuse another value than True."""
    if arguments.setdefault("use_safetensors", True) is not True:
        raise ValueError(
            f"use_safetensors: got {arguments['use_safetensors']}, expected True or nothing: the alternative is a "
            "pickle, which can run code."
        )


def check_loaded(model: torch.nn.Module, where: str | Path) -> None:
    """Refuse weights that are not finite, or that no file gave a value."""
    for name, weight in model.state_dict().items():
        if weight.is_meta:
            if not hasattr(model, "hf_device_map"):  # else it lies on the disk
                raise ValueError(f"{where}: has no value for {name}; save the model again.")
        # The sum is five times faster and finite only where all are.
        elif weight.is_floating_point() and not weight.float().sum().isfinite() and not weight.float().isfinite().all():
            raise ValueError(f"{where}: {name} holds NaN or infinity, expected finite weights.")


class StoredModelMixin(ModelMixin):
    """diffusers' `ModelMixin` that loads safetensors alone, and only what `check_model` lets pass."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Any:
        """diffusers' `from_pretrained`.

        Raises:
            ValueError: a request for pickles, or a damaged folder; the message names the file.
        """
        ask_for_safetensors(kwargs)
        folder = Path(pretrained_model_name_or_path, kwargs.get("subfolder") or "")
        if folder.is_dir():
            check_files(folder, folder.parent if (folder.parent / "model_index.json").is_file() else folder)
            check_model(folder, cls, kwargs.get("variant"))
        loaded = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        check_loaded(loaded[0] if isinstance(loaded, tuple) else loaded, pretrained_model_name_or_path)
        return loaded
