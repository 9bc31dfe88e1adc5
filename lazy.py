"""Names of a package that are imported when first asked for, so that importing the package costs next to nothing."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def attach(package: str, homes: Mapping[str, Sequence[str]]) -> tuple[Callable[[str], Any], list[str]]:
    """Return the `__getattr__` and the `__all__` of a package.

    Args:
        package: its `__name__`.
        homes: names in each module, such as {".ema": ["EMA"]}.
    """
    home_of = {name: module for module, names in homes.items() for name in names}

    def getter(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it has: {', '.join(home_of)}")
        return getattr(import_module(home_of[name], package), name)

    return getter, sorted(home_of)
