"""Order and randomness by counter: what happens at a step follows from (seed, step), so nothing has to be restored."""

import hashlib
from functools import lru_cache

import torch


def counter_seed(seed: int, *counters: int | str) -> int:
    """A seed for one use.

    Args:
        seed: of the run.
        counters: what the randomness is for, such as ("noise", step). Different counters give independent streams.

    Returns:
        63 bits.
    """
    digest = hashlib.blake2b(repr((seed, *counters)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def counter_generator(seed: int, *counters: int | str) -> torch.Generator:
    """A fresh CPU generator for one use; arguments as in `counter_seed`."""
    return torch.Generator().manual_seed(counter_seed(seed, *counters))


@lru_cache(maxsize=2)  # a batch touches two epochs at most, unless it is larger than the data
def _epoch_order(num_images: int, seed: int, epoch: int) -> torch.Tensor:
    return torch.randperm(num_images, generator=counter_generator(seed, "order", epoch))


def batch_indices(step: int, batch_size: int, num_images: int, seed: int) -> torch.Tensor:
    """Which images step `step` sees.

    Epochs follow each other without a gap: a batch may end one and begin the next, and each image comes once an epoch.

    Returns:
        (batch_size,) int64.
    """
    position, end, parts = step * batch_size, (step + 1) * batch_size, []
    while position < end:
        epoch, start = divmod(position, num_images)
        parts.append(_epoch_order(num_images, seed, epoch)[start : start + end - position])
        position += len(parts[-1])
    return torch.cat(parts)
