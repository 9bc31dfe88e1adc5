"""What a process sets up once before it computes; only the command lines call this, never an import."""

import ctypes
import os
import platform

import psutil
import torch

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
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ
    if launched and os.environ.get("OMP_NUM_THREADS") == "1":
        cores = psutil.cpu_count(logical=False) or 1
        torch.set_num_threads(max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    return torch.get_num_threads()


def best_device() -> torch.device:
    """cuda where there is one, else mps, else cpu."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def describe_device(device: torch.device) -> str:
    """A device as a person would name it."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        return f"cpu ({torch.get_num_threads()} threads)"
    return device.type
