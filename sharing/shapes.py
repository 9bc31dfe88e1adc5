"""What is told, and shared, of the files that training and `text2digit evaluate` write: these keys and no others."""

from typing import Any

from ..evaluation.report import FIGURES

# A shape is a type; [shape] of any items; {name: shape}; {str: shape} of any names; (shape,) of what may be missing.
NUMBER = int | float
_ANY = {str: NUMBER | None}
_FIGURES = dict.fromkeys(FIGURES, (NUMBER,))
_SOFTWARE = {"commit": str | None, "versions": ({str: str | None},), "platform": (str,)}
_CHOICE: dict[str, Any] = {"scheduler": str, "timestep_spacing": str | None, "steps": int, "guidance_scale": NUMBER}
_CHOICE |= {"guidance_interval": ([NUMBER],)}
_HASHES = dict.fromkeys(("scheduler_sha256", "text_encoder_sha256"), (str,)) | {"model_sha256": str}
_OBEYED = {"n": int, "accuracy": NUMBER, "accuracy_by_language": _ANY, "real_n": (int,), "real_accuracy": (NUMBER,)}
_OBEYED |= {"correlation": _ANY, "guidance_scale": (NUMBER,)}
_SCORE = {"seed": (int,), "drawn": NUMBER, "real": NUMBER}
_SCORE |= dict.fromkeys(("train_images", "epochs", "test_images", "real_train_images"), int)
REPORT = {
    **{"dataset": str, "device": (str,), "classifier_sha256": str, "reference_images": int, **_SOFTWARE},
    "settings": {"model": str, **_HASHES, **_CHOICE, "seeds": [int], "prompts": (str,)},
    "sets": {str: {"n": int, "mean": _FIGURES, "spread": _FIGURES, "per_seed": ([_FIGURES],)}},
    "sweeps": ({str: [{**_CHOICE, **_FIGURES}]},),
    "confusion": ([[int]],),
    "accuracy_score": (_SCORE,),
    "prompts": ({"held_out": _OBEYED, "by_guidance": [_OBEYED], "properties": {str: _ANY}},),
}
_SESSION = {"device": str, "num_processes": int, "num_threads": int, "started": (str,), "from_step": (int,)}
SESSIONS = {"sessions": [{**_SESSION, "seed": (int,), "distributed_type": (str,), **_SOFTWARE}]}
LINE = {"step": int, **dict.fromkeys(("loss", "validation_loss", "grad_norm", "lr"), (NUMBER,))}
LINE |= dict.fromkeys(("loss_by_time", "validation_loss_by_time"), ([NUMBER | None],))
LINE |= dict.fromkeys(("skipped_steps", "quality_images", "frechet_distance", "accuracy"), (NUMBER,))
SETTINGS = {"default_num_inference_steps": int | None, "default_guidance_scale": NUMBER | None}
DENOISER = {"sample_size": int, "in_channels": int, "num_classes": int | None}
SHARDS = {"metadata": {"total_size": (NUMBER,)}, "weight_map": {str: str}}
IDS = {str: int}


def shaped(value: Any, shape: Any, where: str) -> Any:
    """Return a value of JSON with the keys of a shape alone.

    Args:
        value: to check; it is not changed.
        shape: as above.
        where: names the value.

    Raises:
        ValueError: it has another shape; names the key.
    """
    if isinstance(shape, tuple):
        return None if value is None else shaped(value, shape[0], where)
    if isinstance(shape, dict) and isinstance(value, dict):
        pairs = dict.fromkeys(value, shape[str]) if str in shape else shape
        found = {name: shaped(value.get(name), inner, f"{where}, {name}") for name, inner in pairs.items()}
        return {name: found[name] for name in value if name in found}
    if isinstance(shape, list) and isinstance(value, list):
        return [shaped(item, shape[0], f"{where}, {i}") for i, item in enumerate(value)]
    is_huge = type(value) is int and abs(value) >= 2**63  # no float
    if isinstance(shape, dict | list) or not isinstance(value, shape) or type(value) is bool or is_huge:
        raise ValueError(f"{where}: got {value!r:.80}, expected {shape}; write the file again, or remove it.")
    return value
