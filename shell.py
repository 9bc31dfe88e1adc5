"""What all commands share: how they start, where they write, what they tell of a mistake, and how they end.

The exit status is 0 when all is done, 1 when something failed, 2 for wrong input, 130 after Ctrl-C. Results go to
stdout, words to stderr. Nothing here imports a library that takes time, so `--help` and usage errors are instant.
"""

import argparse
import atexit
import io
import json
import math
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from text2digit.runtime import keep_freed_memory, printable, process_index, say, start_missing_processes, use_all_cores

# Commands import this module first, some 0.1 s after their process began.
STARTED = time.perf_counter()
FAILED, WRONG_INPUT, INTERRUPTED = 1, 2, 130
# Errors by which the library refuses an argument or a file that it was given.
REFUSALS = (ValueError, FileNotFoundError, FileExistsError)
TRACEBACK = "TEXT2DIGIT_TRACEBACK"
UNFINISHED = ".unfinished-"  # begins the names of files and folders that are being written


@dataclass
class Result:
    """What a command has found.

    Attributes:
        text: for people, on stdout.
        facts: the same for `--json`.
    """

    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)


class Ended(Exception):
    """Ends a command with a message and an exit status of its own."""

    def __init__(self, message: str, exit_status: int = FAILED):
        super().__init__(message)
        self.exit_status = exit_status


class Parser(argparse.ArgumentParser):
    """Flags of a command; `--two-words` and diffusers' `--two_words` are the same flag.

    A flag whose `dest` is the name of an argument of the library stands for it in the library's errors.

    Args:
        prog: name of the command.
        description: the module's docstring.
        has_json: add `--json`.
    """

    def __init__(self, prog: str, description: str | None, has_json: bool = False):
        super().__init__(prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
        if has_json:
            self.add_argument("--json", action="store_true", help="print the result as one JSON object")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse words, of which those that begin with `--` may have `_` in place of `-`."""
        words = sys.argv[1:] if args is None else args
        self.words = [re.sub("^--[^=]+", lambda flag: flag[0].replace("_", "-"), word) for word in words]
        return super().parse_known_args(self.words, namespace)

    def error(self, message: str) -> NoReturn:
        """Say in one line what is wrong with a command line; end with status 2."""
        message = message.removeprefix("argument ")
        self.exit(
            WRONG_INPUT,
            f"error: {printable(message)}\n{self.prog} --help tells more.\n" if process_index() == 0 else None,
        )

    def in_flags(self, message: str) -> str:
        """Return a message of the library with the flag, as it was typed, for the argument that it begins with."""
        flags = {action.dest: action.option_strings for action in self._actions if action.option_strings}
        name, _, rest = message.partition(": ")
        if name not in flags:
            return message
        typed = {word.partition("=")[0] for word in self.words}
        return f"{next((flag for flag in flags[name] if flag in typed), flags[name][-1])}: {rest}"


def command(
    prog: str,
    description: str | None,
    flags: Callable[[Parser], object],
    work: Callable[[argparse.Namespace], Result | None],
    has_json: bool = False,
) -> Callable[..., int]:
    """Return the `main` of a command: it takes a command line, else that of the process; returns the exit status.

    Args:
        prog, description, has_json: as `Parser` takes them.
        flags: adds the flags to a parser.
        work: takes the arguments, and returns what goes to stdout. It calls `set_up` before it computes.
    """

    def main(argv: Sequence[str] | None = None) -> int:
        parser = Parser(prog, description, has_json)
        flags(parser)

        def whole_work() -> Result | None:
            arguments = parser.parse_args(argv)
            return as_json(work(arguments), has_json and arguments.json)

        return guard(whole_work, parser.in_flags)

    return main


def set_up() -> None:
    """Prepare a process that computes tensors: processes, memory, threads, and no bars of libraries."""
    start_missing_processes()
    keep_freed_memory()  # before the first tensor
    use_all_cores()
    from diffusers.utils import logging

    logging.disable_progress_bar()  # of a pipeline's two components


def as_json(result: Result | None, wanted: bool = True) -> Result | None:
    """Return a result whose text is one JSON object, in which null stands for NaN; or the result itself."""
    if not (result and wanted):
        return result
    return Result(json.dumps(json.loads(json.dumps(result.facts, default=str), parse_constant=lambda _: None)))


def guard(work: Callable[[], Result | None], translate: Callable[[str], str] = str) -> int:
    """Run the whole of a command; print its result, or what went wrong, and return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a console's encoding lacks is shown as an escape
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            result = work()
            status = 0
        except SystemExit as end:  # argparse has said all
            result, status = None, end.code if isinstance(end.code, int) else 0
        if process_index() == 0:
            _print(result.text.rstrip("\n") + "\n" if result else "")
        return status
    except KeyboardInterrupt:
        with suppress(ValueError):  # a call in a thread
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # people press it twice
        say("interrupted")
        return INTERRUPTED
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        is_refusal = isinstance(error, REFUSALS)
        is_known = is_refusal or isinstance(error, OSError) or type(error).__module__.startswith("text2digit.")
        message = translate(str(error)) if is_known else f"{type(error).__name__}: {error} ({TRACEBACK}=1 shows where)"
        told = message if isinstance(error, Ended) else f"error: {message}"
        say("\n".join(printable(line) for line in told.splitlines()), by_all=not is_refusal)
        return getattr(error, "exit_status", WRONG_INPUT if is_refusal else FAILED)
    finally:
        # A second Ctrl-C, while the interpreter ends, would print a traceback. What is registered last runs first.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


def _print(text: str) -> None:
    """Print a result; its reader may have enough after a line."""
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        # The interpreter flushes once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def seconds() -> float:
    """Return how long the user of a command has waited so far."""
    return time.perf_counter() - STARTED


def number(kind: type = float, least: float = -math.inf, most: float = math.inf) -> Callable[[str], Any]:
    """Return the type of a flag that takes a finite number within bounds."""
    expected = "a whole number" if kind is int else "a finite number"
    if math.isfinite(least):
        expected = f"{least} to {most}" if math.isfinite(most) else f"{least} or more"

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (least <= value <= most and value - value == 0):  # inf - inf is NaN
            raise argparse.ArgumentTypeError(f"got {text}, expected {expected}.")
        return value

    return read


def output(*suffixes: str, is_folder: bool = False, is_empty: bool = False) -> Callable[[str], Path]:
    """Return the type of a flag that names what a command writes; argparse checks it before any work.

    Args:
        suffixes: of files, in lower case; they are accepted in any case.
        is_folder: whether it may be a folder. Where it may be a file too, a new folder has no suffix.
        is_empty: whether the folder must be new or empty.
    """
    choices = [f"FILE{suffix}" for suffix in suffixes] + ["a folder"] * is_folder
    expected = " or ".join(filter(None, [", ".join(choices[:-1]), choices[-1]]))

    def check(text: str) -> Path:
        path = Path(text)
        wanted = "file" if path.suffix.lower() in suffixes else "folder"
        found = "folder" if os.path.isdir(path) else "file" if os.path.lexists(path) else ""
        may_be = wanted == "file" or (is_folder and (not suffixes or not path.suffix or found == "folder"))
        if not text or not may_be or found not in ("", wanted):
            raise argparse.ArgumentTypeError(
                f"got {text}{f', which is a {found}' if found else ''}, expected {expected}."
            )
        try:
            if is_empty and found and any(path.iterdir()):
                raise argparse.ArgumentTypeError(f"got {text}, expected a folder that is empty or does not exist yet.")
            _try_to_write(path, path if found == "folder" else path.parent)
        except OSError as error:
            raise argparse.ArgumentTypeError(f"got {text}, which cannot be written: {error.strerror}.") from error
        return path

    return check


def _try_to_write(path: Path, folder: Path) -> None:
    """Raise the OSError that writing `path` would end in, so far as the nearest folder that exists knows."""
    with suppress(FileNotFoundError):
        path.lstat()  # of a name that is too long, or below a file
    while not os.path.lexists(folder):
        folder = folder.parent
    with tempfile.TemporaryFile(dir=folder):
        pass


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a place beside `path` to write a file or a folder to, which gets its name when the block ends well.

    A process that is stopped within the block leaves `path` as it was. In a folder that exists, files of other names
    stay.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = hidden_name(path)
    try:
        yield aside
        if aside.is_dir() and path.is_dir():
            for file in list(aside.iterdir()):
                os.replace(file, path / file.name)
        else:
            os.replace(aside, path)
    finally:
        remove(aside)


def hidden_name(path: Path) -> Path:
    """Return a name beside `path` that nobody else has, of the same suffix."""
    return path.with_name(f"{UNFINISHED}{uuid.uuid4().hex[:12]}-{path.name[-60:]}")  # a name has 255 bytes at most


def remove(path: Path) -> None:
    """Delete a file, or what can be deleted of a folder; nothing where neither is there."""
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
