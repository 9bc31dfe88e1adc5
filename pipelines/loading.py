"""Where a pipeline's folder is: on disk, among the weights that ship with the package, or on the Hub."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import get_token, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

SHIPPED_FOLDER = Path(__file__).resolve().parent.parent / "pretrained"
INDEX_NAME = "model_index.json"
# All that a pipeline is made of, and what `text2digit info` reads: configurations, vocabularies, figures, safetensors.
# No code, and nothing that can hold it.
HUB_PATTERNS = ("*.json", "*.jsonl", "*.txt", "*.yaml", "*.safetensors")
HUB_FAILURES: tuple[type[Exception], ...] = (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled)
# What the client raises at an answer that is no JSON, or JSON of another shape.
UNREADABLE_ANSWERS: tuple[type[Exception], ...] = (ValueError, LookupError, TypeError, AttributeError)
HUB_ARGUMENTS = ("revision", "cache_dir", "token", "local_files_only", "force_download")


def shipped_names() -> list[str]:
    """Names of the weights that came with the package, sorted."""
    return sorted(path.parent.name for path in SHIPPED_FOLDER.glob(f"*/{INDEX_NAME}"))


def find_pipeline_folder(name_or_path: str | Path, hub_arguments: Mapping[str, Any] = {}) -> Path:
    """The local folder of a pipeline; from the Hub it is downloaded first.

    Args:
        name_or_path: a folder that holds a model_index.json, the name of shipped weights, or "user/name" on the Hub;
            looked for in this order.
        hub_arguments: keywords of `huggingface_hub.snapshot_download`.

    Raises:
        ValueError: a folder without a pipeline, or a name that can be none of the three.
        FileNotFoundError: no such folder, and the Hub does not give it.
    """
    folder = Path(name_or_path)
    if os.path.isfile(folder / INDEX_NAME):  # pathlib's raises for a name that is too long
        return folder
    if os.path.isdir(folder):
        raise ValueError(
            f"{name_or_path}: the folder holds no {INDEX_NAME}, so it is no saved pipeline; pass the folder that "
            "save_pretrained or a training run wrote."
        )
    name = str(name_or_path)
    if name in shipped_names():
        return SHIPPED_FOLDER / name
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        find_token(hub_arguments.get("token"))
        try:
            return Path(snapshot_download(name, allow_patterns=list(HUB_PATTERNS), **hub_arguments))
        except (*HUB_FAILURES, *UNREADABLE_ANSWERS) as error:
            raise FileNotFoundError(f"{name}: no such folder, and the Hub does not give it: {error}") from error
    raise ValueError(
        f"{name_or_path}: no such folder and no such shipped weights. Pass a folder, one of "
        f"{', '.join(shipped_names()) or '(none shipped)'}, or user/name for the Hub."
    )


def find_token(token: str | bool | None = None) -> str | None:
    """Return the token for the Hub: the one that is given, HF_TOKEN, or what `hf auth login` stored; None without one.

    Raises:
        ValueError: it holds a character that no request can carry; the message does not tell the token.
    """
    found = token if isinstance(token, str) else None if token is False else get_token()
    if bad := re.search(r"[^!-~]", found or ""):
        raise ValueError(
            f"the token for the Hub holds a character that no token has, at place {bad.start() + 1} (expected letters, "
            "digits and '_' of ASCII); copy it again, into HF_TOKEN or by `hf auth login`."
        )
    return found
