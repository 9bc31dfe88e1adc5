"""Many images: in batches, by as many processes as there are."""

from collections.abc import Sequence
from typing import Any

import torch
from accelerate.utils import gather
from torch.nn import functional as F
from tqdm.auto import tqdm

from ..runtime import join_shares, process_count, process_index, share_of

BATCH_SIZE = 100


def draw_images(
    pipeline: Any,
    inputs: Sequence[int] | Sequence[str],
    seeds: Sequence[int],
    batch_size: int = BATCH_SIZE,
    show_progress: bool = False,
    **arguments: Any,
) -> torch.Tensor:
    """One image per input, each of its own seed, so that batches and processes change nothing but the rounding.

    Of several processes each draws its share; every one must call this, with accelerate set up.

    Args:
        pipeline: of classes or of texts, on the device of this process.
        inputs: N class ids, or N prompts.
        seeds: N seeds.
        batch_size: images of one call.
        show_progress: a bar on the main process, if it writes to a terminal.
        arguments: of the pipeline's call, such as `num_inference_steps`.

    Returns:
        (N, C, H, W) float32 in [0, 1] on the CPU, whole on every process; W is that of the widest, where prompts are
        numbers, with dark ground to the right of the others.
    """
    count, processes = len(inputs), process_count()
    batches = share_of(count, process_index(), processes).split(batch_size)
    drawn = []
    is_hidden = None if show_progress and process_index() == 0 else True  # None: shown to a terminal alone
    for chosen in tqdm(batches, desc="drawing", unit="batch", disable=is_hidden):
        places = chosen.tolist()
        own_inputs, own_seeds = [inputs[i] for i in places], [seeds[i] for i in places]
        images = pipeline(own_inputs, generator=own_seeds, output_type="pt", **arguments).images
        drawn += list(images)
    widest = torch.tensor([max(image.shape[2] for image in drawn)], device=drawn[0].device)
    width = int(gather(widest).max() if processes > 1 else widest)
    images = torch.stack([F.pad(image, (0, width - image.shape[2])) for image in drawn])
    return join_shares(gather(images) if processes > 1 else images, count, processes).cpu()
