"""`StoredPipeline`: how a pipeline is loaded, saved and shared; it stays here when the code of a pipeline travels."""

import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import DiffusionPipeline
from transformers import PreTrainedTokenizerBase

from ..models.saved import (
    RECORDED,
    StoredModelMixin,
    as_value_error,
    ask_for_safetensors,
    check_config,
    check_file,
    check_loaded,
    constructor_hints,
    read_json,
)
from .allowed import allowed_index, check_component, is_component
from .loading import HUB_ARGUMENTS, INDEX_NAME, find_pipeline_folder

Stored = TypeVar("Stored", bound="StoredPipeline")


class StoredPipeline(DiffusionPipeline):
    """Base of `DigitPipeline`: `from_pretrained`, `save_pretrained` and `push_to_hub`."""

    # Whether the class draws with the weights of every other one.
    _takes_any_weights = False

    @classmethod
    def from_pretrained(cls: type[Stored], pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Stored:
        """Load a pipeline.

        Args:
            pretrained_model_name_or_path: a folder, the name of weights that ship with the package, or "user/name" on
                the Hub. Only configurations and safetensors are read, never code or pickles; classes are our own,
                whether the folder carries code files for others or not.
            kwargs: as in `DiffusionPipeline.from_pretrained` (`torch_dtype`, `variant`, components to replace, …) and,
                for the Hub, `revision`, `cache_dir`, `token`, `local_files_only`, `force_download`. One for both,
                `trust_remote_code`, may be given and means nothing here.

        Returns:
            An instance of the class that the folder names.

        Raises:
            ValueError: no such model; a folder that names another class than the one it is asked of, a component that
                `allowed.py` does not list, or weights outside of it; a request for pickles or foreign code.
            FileNotFoundError: no such folder, and the Hub does not give it.
        """
        kwargs.pop("trust_remote_code", None)
        if kwargs.get("custom_pipeline") is not None:
            raise ValueError(
                f"custom_pipeline: got {kwargs['custom_pipeline']!r}, but DigitPipeline runs no code of a repository; "
                "leave it out, or load by diffusers.DiffusionPipeline."
            )
        ask_for_safetensors(kwargs)
        hub_arguments = {name: kwargs.pop(name) for name in HUB_ARGUMENTS if name in kwargs}
        folder = find_pipeline_folder(pretrained_model_name_or_path, hub_arguments)
        with as_value_error(folder):
            recorded, _, loaded = check_folder(folder, given=kwargs, is_loaded=True)
        if not (issubclass(recorded, cls) or issubclass(cls, recorded) or cls._takes_any_weights):
            raise ValueError(
                f"{pretrained_model_name_or_path}: is a {recorded.__name__}, not a {cls.__name__}; load it by "
                "DigitPipeline.from_pretrained."
            )
        # The more special of the two: what the folder names, or a subclass of it that was asked for by name.
        chosen = recorded if issubclass(recorded, cls) else cls
        with as_value_error(folder):
            # diffusers loads the scheduler once more, and logs it; a tokenizer would take too long for that.
            kept = {name: part for name, part in loaded.items() if isinstance(part, PreTrainedTokenizerBase)}
            pipeline = DiffusionPipeline.from_pretrained.__func__(chosen, str(folder), **kwargs, **kept)
        for name, component in pipeline.components.items():
            # Those of ours have checked themselves.
            is_foreign = isinstance(component, torch.nn.Module) and not isinstance(component, StoredModelMixin)
            if is_foreign and name not in kwargs:
                check_loaded(component, folder / name)
        return pipeline

    @classmethod
    def load_config(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Any:
        """diffusers' `load_config`, whose classes are ours or on the list of `allowed.py`."""
        config = super().load_config(pretrained_model_name_or_path, **kwargs)
        return allowed_index(config) if isinstance(config, dict) else config

    def push_to_hub(
        self,
        repo_id: str,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | None = None,
        create_pr: bool = False,
        revision: str | None = None,
    ) -> str:
        """Share the pipeline on the Hub, with code for people without this package and a card.

        The card tells what the pipeline is. How it was trained and what was measured lies in the folder of its run,
        which `text2digit push --model FOLDER` sends along.

        Args:
            repo_id: user/name, or a name of the token's user; made if it does not exist.
            commit_message, private, token, create_pr: as in diffusers' method of this name.
            revision: a branch, made if it does not exist; None is main.

        Returns:
            Where the commit can be seen.

        Raises:
            PushError: the message says why, and what the remote holds now.
        """
        # The one import against the order of layers: the method is diffusers', and sharing knows pipelines.
        from ..sharing.upload import Target, push_folder

        target = Target(repo_id, revision, private, create_pr, token)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return push_folder(Path(folder), target, commit_message).url

    def save_pretrained(
        self,
        save_directory: str | Path,
        safe_serialization: bool = True,
        variant: str | None = None,
        *,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> None:
        """Save, as diffusers' `save_pretrained` does, in safetensors.

        Args:
            save_directory: a folder, made if it does not exist.
            safe_serialization: True; False would write pickles.
            variant: part of the weights' file name, such as "fp16".
            push_to_hub: also share it, as `repo_id` among the `kwargs` or else by the folder's name.
            kwargs: of diffusers' method (`max_shard_size`) and of `push_to_hub`.

        Raises:
            ValueError: `safe_serialization=False`.
        """
        if not safe_serialization:
            raise ValueError("safe_serialization: got False, expected True or nothing: the alternative is a pickle.")
        names = ("repo_id", "commit_message", "private", "token", "create_pr", "revision")
        sharing = {name: kwargs.pop(name) for name in names if name in kwargs}
        super().save_pretrained(save_directory, variant=variant, **kwargs)
        if push_to_hub:
            self.push_to_hub(sharing.pop("repo_id", Path(save_directory).name), **sharing)


def check_folder(
    folder: Path, given: Mapping[str, Any] | None = None, is_loaded: bool = False
) -> tuple[type[StoredPipeline], dict[str, Any], dict[str, Any]]:
    """Check a pipeline's folder, all that a loader would open, before one opens it.

    Args:
        folder: of a pipeline.
        given: arguments of `from_pretrained`: components that are not loaded, because they are passed, and `variant`.
        is_loaded: whether all is loaded next, so that models of ours check themselves, and the pipeline its parts.

    Returns:
        The class that the folder names, its index as `allowed_index` returns it, and its components, models without
        their weights.

    Raises:
        ValueError: names the file, and what in it is wrong.
    """
    path, given = folder / INDEX_NAME, given or {}
    check_file(path, folder)
    index = allowed_index(read_json(path))
    package = import_module(__package__)
    for name in package.__all__:
        getattr(package, name)  # imports it, which makes it known
    known = {c.__name__: c for base in StoredPipeline.__subclasses__() for c in _subclasses(base)}
    name = index.get("_class_name")
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"{path}: is a {name!s:.60}, expected one of {', '.join(sorted(known))}.")
    recorded = known[name]
    hints = constructor_hints(recorded)
    components = {name: value for name, value in index.items() if is_component(value)}
    check_config(path, index, hints | dict.fromkeys(components.keys() & hints, (object,)) | RECORDED)
    loaded = {}
    required = [name for name, (_, default) in hints.items() if default is type]  # has none
    for name in sorted({*components, *required}.difference(given)):
        module, class_name = components.get(name, (None, None))
        if class_name is not None:
            with as_value_error(folder / name):
                loaded[name] = check_component(folder / name, module, class_name, is_loaded, given.get("variant"))
        elif name not in recorded._optional_components:
            raise ValueError(f"{path}: has no {name}, expected the class of one.")
    if not is_loaded:
        settings = {name: index[name] for name in index.keys() & hints.keys() - components.keys()}
        with as_value_error(path):
            recorded(**loaded, **settings)  # refuses parts that do not fit each other
    return recorded, index, loaded


def _subclasses(base: type[StoredPipeline]) -> list[type[StoredPipeline]]:
    return [c for child in base.__subclasses__() for c in (child, *_subclasses(child))]
