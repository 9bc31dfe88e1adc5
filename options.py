"""Options that are declared once, beside their type: `option` gives a field its default, range, flag and help.

From the declaration come the check of a value (`Option.read`), what an error and `train --help` say was expected
(`Option.expected`), and the reference page (`reference`).
"""

import dataclasses
import difflib
import inspect
import json
import math
import operator
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from types import NoneType
from typing import Any, Literal, TypeVar, cast

import yaml

T = TypeVar("T")
# Bounds of a number: attribute of `Option`, comparison, words.
BOUNDS: tuple[tuple[str, Callable[[Any, Any], bool], str], ...] = (
    ("at_least", operator.ge, "{} or more"),
    ("over", operator.gt, "more than {}"),
    ("at_most", operator.le, "at most {}"),
    ("below", operator.lt, "less than {}"),
)
WORDS = {int: "a whole number", float: "a finite number", str: "text", bool: "true or false"}


@dataclasses.dataclass(frozen=True)
class Option:
    """A field of a section and what it accepts.

    Attributes:
        default: used where neither recipe nor command line gives a value.
        help: what it does, in a line.
        at_least, over, at_most, below: bounds of a number, or of each number of a tuple; numbers are always finite.
        also: a regular expression of texts that a choice accepts too, and what they are, in words.
        off: a number outside of the bounds that is accepted too, and switches the option off.
        unit: what a number counts.
        flag: spelling on the command line of `text2digit train`; True is "--" and the field's name.
        resume: the value of `training.resume` with which a continued run may change it: "auto" (always), "extend",
            or "" for never.
        formerly: values of configs that an earlier version saved, to what they are now.
        key: "section.name".
        kind: the field's type.
    """

    default: Any
    help: str
    at_least: float | None = None
    over: float | None = None
    at_most: float | None = None
    below: float | None = None
    also: tuple[str, str] | None = None
    off: int | None = None
    unit: str = ""
    flag: str | bool = ""
    resume: Literal["", "auto", "extend"] = ""
    formerly: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    key: str = ""
    kind: Any = str

    @property
    def name(self) -> str:
        """The field's name."""
        return self.key.split(".")[1]

    @property
    def is_optional(self) -> bool:
        """Whether null is accepted."""
        return NoneType in typing.get_args(self.kind)

    @property
    def base(self) -> Any:
        """The type without null."""
        return typing.get_args(self.kind)[0] if self.is_optional else self.kind

    @property
    def is_text(self) -> bool:
        """Whether the value is any text."""
        return self.base is str

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values of a choice; empty for any other type."""
        return typing.get_args(self.base) if typing.get_origin(self.base) is Literal else ()

    @property
    def expected(self) -> str:
        """What is accepted, in words: "a whole number of steps, 1 or more, or 0 to switch it off"."""
        size = len(typing.get_args(self.base)) if typing.get_origin(self.base) is tuple else 1
        kind = f"one of {', '.join(map(str, self.choices))}" if self.choices else f"a list of {size} finite numbers"
        words = [WORDS.get(self.base, kind) + (f" of {self.unit}" if self.unit else "")]
        bounds = [text.format(getattr(self, name)) for name, _, text in BOUNDS if getattr(self, name) is not None]
        if bounds:
            words.append(("each " if size > 1 else "") + " and ".join(bounds))
        words += [f"or {self.also[1]}"] if self.also else []
        words += ["or null"] if self.is_optional else []
        words += [f"or {self.off} to switch it off"] if self.off is not None else []
        return ", ".join(words)

    @property
    def help_line(self) -> str:
        """The line of `--help`, where a percent sign begins a name of argparse."""
        expected = "" if self.choices or self.base in (str, bool) else f"{self.expected}; "
        return f"{self.help} ({expected}default {self.default_text}; {self.key})".replace("%", "%%")

    @property
    def default_text(self) -> str:
        """The default as YAML has it."""
        return self.default if isinstance(self.default, str) else json.dumps(self.default)

    @property
    def spellings(self) -> list[str]:
        """The flag with dashes and, as diffusers has it, with underscores; empty for an option without a flag."""
        if not self.flag:
            return []
        name = self.name if self.flag is True else self.flag.removeprefix("--")
        return list(dict.fromkeys(f"--{each}" for each in (name.replace("_", "-"), name.replace("-", "_"))))

    @property
    def metavar(self) -> str:
        """What stands for the value in `--help`."""
        return f"{{{','.join(map(str, self.choices))}}}" if self.choices else self.base.__name__.upper()

    def read(self, value: Any) -> Any:
        """Return a value of YAML as the field's type; a float may be written as 1 or as 1e-3, YAML's string.

        Raises:
            ValueError: another type, or a number outside of the range.
        """
        try:
            return self._convert(self.formerly.get(str(value), value), self.kind)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"{self.key}: got {value!r}, expected {self.expected}.") from None

    def _convert(self, value: Any, kind: Any) -> Any:
        if kind is self.kind and self.is_optional:
            return None if value is None else self._convert(value, self.base)
        if typing.get_origin(kind) is tuple:
            if not isinstance(value, list | tuple):
                raise TypeError
            return tuple(self._convert(v, k) for v, k in zip(value, typing.get_args(kind), strict=True))
        if kind is not bool and isinstance(value, bool):  # to Python, true is a whole number
            raise TypeError
        if kind is float:
            value = float(value)
        of_choice = any(value == choice and type(value) is type(choice) for choice in self.choices)
        of_choice = of_choice or bool(self.also and isinstance(value, str) and re.fullmatch(self.also[0], value))
        fits = of_choice if self.choices else isinstance(value, kind)
        if not fits or (kind in (int, float) and not self._is_in_range(value)):
            raise ValueError
        return value

    def _is_in_range(self, value: float) -> bool:
        bounds = [(compare, getattr(self, name)) for name, compare, _ in BOUNDS]
        inside = math.isfinite(value) and all(bound is None or compare(value, bound) for compare, bound in bounds)
        return inside or (self.off is not None and value == self.off)


def option(default: T, help: str, **declared: Any) -> T:
    """Declare a field of a `Section`; the other arguments are the attributes of `Option`."""
    return dataclasses.field(default=default, metadata={"option": Option(default, help, **declared)})


class Section:
    """Base of a frozen dataclass whose fields are options: its values are checked however it is made."""

    def __post_init__(self) -> None:
        for each in options_of(type(self)):
            object.__setattr__(self, each.name, each.read(getattr(self, each.name)))


def section_name(section: type) -> str:
    """The section's name in YAML: "optim" of `OptimConfig`."""
    return section.__name__.removesuffix("Config").lower()


def options_of(section: type) -> tuple[Option, ...]:
    """The options of a section, in the order of their declarations."""
    types, name = typing.get_type_hints(section), section_name(section)
    declared = [(f.name, f.metadata["option"]) for f in dataclasses.fields(cast(Any, section)) if f.metadata]
    return tuple(dataclasses.replace(each, key=f"{name}.{own}", kind=types[own]) for own, each in declared)


def check_known(name: str, known: Iterable[str]) -> None:
    """Refuse an unknown name, "section" or "section.key".

    Raises:
        ValueError: with the known name that is most like it, and those of the same section.
    """
    known = list(known)
    if name not in known:
        section, dot, key = name.rpartition(".")
        elsewhere = [each for each in known if dot and each.endswith(dot + key)]
        nearest = elsewhere or difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {nearest[0]}?" if nearest else ""
        beside = [each.removeprefix(section + dot) for each in known if each.startswith(section + dot)]
        raise ValueError(f"{name}: unknown.{hint} Known: {', '.join(beside)}.")


def reference(head: str, sections: Iterable[type[Section]]) -> str:
    """The page of all options, as Markdown; the head's first line is the title."""
    lines = [f"# {head}"]
    for section in sections:
        lines += [f"## {section_name(section)}", "", inspect.getdoc(section) or "", ""]
        lines += ["| key | flag | value | default | what it does | resume |", "|---|---|---|---|---|---|"]
        for each in options_of(section):
            flag = f"`{each.spellings[0]}`" if each.flag else ""
            cells = [f"`{each.key}`", flag, each.expected, f"`{each.default_text}`", each.help]
            lines.append(" | ".join(["", *cells, each.resume, ""]).strip().replace("\n", " "))
        lines.append("")
    return "\n".join(lines)


class _Loader(yaml.SafeLoader):
    """YAML with the booleans of its version 1.2: `true` and `false` alone, so that mixed_precision may be `no`."""


_BOOL = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile("^(?:true|false)$"), ["t", "f"])


def parse_yaml(text: str, what: str) -> Any:
    """Read a value.

    Raises:
        ValueError: it is no YAML; `what` names its place.
    """
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date such as 2026-99-99 is a ValueError
        raise ValueError(f"{what}: is no YAML: {' '.join(str(error).split())}") from error


def as_section(what: str, values: Any) -> dict[str, Any]:
    """Return the keys and values of a mapping; of null, none.

    Raises:
        ValueError: another type; `what` names it.
    """
    if not isinstance(values, Mapping | None):
        raise ValueError(f"{what}: got {values!r}, expected keys with values.")
    return {str(key): value for key, value in (values or {}).items()}
