"""What a process sets up once before it computes; only the command lines call this, never an import."""

import ctypes
import os
import platform
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

PACKAGES = ("text2digit", "torch", "diffusers", "accelerate", "transformers", "safetensors", "numpy")
# mallopt's parameters, malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Tell glibc to keep the memory of freed tensors instead of giving it back.

    By default every large tensor is mapped and unmapped, and the page faults cost time: 6 % of a training step of our
    UNet on two cores, 3 % of the DiT's, and more with larger feature maps. Changes no arithmetic; takes effect for
    tensors made afterwards.

    Returns:
        Whether the process listens, which is so with glibc alone.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, 64 << 20))
    return all(libc.mallopt(parameter, value) == 1 for parameter, value in settings)


def use_all_cores() -> int:
    """Undo the one thread that `accelerate launch` gives each process unless it is told `--cpu`.

    It does so by OMP_NUM_THREADS, and half the speed of two cores is lost. Only that default is undone: a process that
    was not launched so, or that was given more threads, keeps what it has.

    Returns:
        CPU threads of this process.
    """
    import psutil
    import torch

    launched = "ACCELERATE_MIXED_PRECISION" in os.environ
    if launched and os.environ.get("OMP_NUM_THREADS") == "1":
        cores = psutil.cpu_count(logical=False) or 1
        torch.set_num_threads(max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    return torch.get_num_threads()


def start_missing_processes() -> None:
    """Become as many processes as `accelerate launch --cpu --num_processes N` was asked for.

    accelerate 1.15 starts several processes on the CPU by MPI only; without a hostfile it starts one, and says nothing
    (accelerate issue 2741). It does set MASTER_ADDR then, which gives it away. This process turns into torch's
    own launcher, which starts the same command N times; where all is well it does nothing.
    """
    asked_for_more = "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_ADDR" in os.environ
    if not asked_for_more or {"RANK", "WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE"} & set(os.environ):
        return
    import psutil

    launcher = psutil.Process().parent()
    count = _number_of_processes(launcher.cmdline() if launcher else [])
    if count > 1:
        sys.stdout.flush()
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count)]
        command = sys.orig_argv[1:]
        if command[0] == "-m":
            launch, command = [*launch, "--module"], command[1:]
        # After "--" the launcher takes no flag for its own: it would read --num as one of three that begin so.
        os.execv(sys.executable, [*launch, "--", *command])


def _number_of_processes(command: list[str]) -> int:
    """What a command line of `accelerate launch` asks for, by a flag or by its config file; 1 if it says nothing."""
    from accelerate.commands.config import load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    if "launch" not in " ".join(command):
        return 1
    after = next(i for i, word in enumerate(command) if "launch" in word) + 1
    arguments, _ = launch_command_parser().parse_known_args(command[after:])
    if arguments.num_processes is None and arguments.config_file:
        return load_config_from_file(arguments.config_file).num_processes
    return arguments.num_processes or 1


def say(text: str, by_all: bool = False) -> None:
    """Tell the user of a command something, on stderr.

    Args:
        text: printable.
        by_all: by every process of several, not by the first alone.
    """
    if by_all or process_index() == 0:
        with suppress(OSError):  # nobody listens any more
            print(text, file=sys.stderr, flush=True)


def printable(value: Any) -> str:
    """Return a value on one line, with escapes in place of control characters, so that a terminal only shows it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value))


def check_processes(num_processes: int) -> None:
    """Refuse to run as one of several processes that do not know of each other.

    `accelerate launch --use_fsdp` does that on a machine without GPUs: each would train by itself.

    Raises:
        ValueError: with what to do.
    """
    started = process_count()
    if num_processes != started:
        raise ValueError(
            f"got {started} processes, of which each knows {num_processes}: accelerate found no way to connect them. "
            "On the CPU use: accelerate launch --cpu --num_processes N."
        )


def process_index() -> int:
    """Which process this is, by what a launcher says; the first, 0, is the one that prints and writes."""
    return int(os.environ.get("RANK", "0"))


def process_count() -> int:
    """How many processes work together, by what a launcher says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def share_of(count: int, process_index: int, num_processes: int) -> "torch.Tensor":
    """Which of `count` items a process works on: every n-th, equally many for each; the last item fills up.

    Returns:
        (ceil(count / num_processes),) int64.
    """
    import torch

    rounds = -(-count // num_processes)
    return (torch.arange(rounds) * num_processes + process_index).clamp(max=count - 1)


def join_shares(gathered: "torch.Tensor", count: int, num_processes: int) -> "torch.Tensor":
    """Bring the results of all processes, one process after the other, back into the order of the items.

    Args:
        gathered: (num_processes * rounds, …).

    Returns:
        (count, …).
    """
    by_process = gathered.unflatten(0, (num_processes, -1))
    return by_process.transpose(0, 1).flatten(0, 1)[:count]


def peak_memory_gib(device: "torch.device") -> float:
    """The most memory that was in use so far: of the GPU, or of the process."""
    import psutil
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    if platform.system() == "Windows":
        return psutil.Process().memory_info().peak_wset / 2**30
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, KiB elsewhere
    return peak / (2**30 if platform.system() == "Darwin" else 2**20)


def describe_device(device: "torch.device") -> str:
    """A device as a person would name it."""
    import torch

    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        return f"cpu ({torch.get_num_threads()} threads)"
    return device.type


def describe_software() -> dict[str, Any]:
    """Commit, versions and platform, to be written beside whatever was computed."""
    versions = {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}
    return {"commit": _commit(), "versions": versions, "platform": platform.platform()}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # a checkout on the path, not installed
        return None


def _commit() -> str | None:
    """Commit of the checkout that this code lies in, with "-dirty" where files differ; None in an installed package."""
    root = Path(__file__).resolve().parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None
