"""Many images: in batches, by as many processes as there are."""

from collections.abc import Sequence
from typing import Any

import torch
from accelerate.utils import gather
from tqdm.auto import tqdm

from ..runtime import join_shares, process_count, process_index, share_of
from .pipeline_class_conditioned import ClassConditionedDigitPipeline

BATCH_SIZE = 100


def draw_images(
    pipeline: ClassConditionedDigitPipeline,
    class_labels: Sequence[int],
    seeds: Sequence[int],
    batch_size: int = BATCH_SIZE,
    show_progress: bool = False,
    **arguments: Any,
) -> torch.Tensor:
    """One image per label, each of its own seed, so that batches and processes change nothing but the rounding.

    Of several processes each draws its share; every one must call this, with accelerate set up.

    Args:
        pipeline: on the device of this process.
        class_labels: N ids.
        seeds: N seeds.
        batch_size: images of one call.
        show_progress: a bar on the main process.
        arguments: of the pipeline's call, such as `num_inference_steps`.

    Returns:
        (N, C, H, W) float32 in [0, 1] on the CPU, whole on every process.
    """
    count, processes = len(class_labels), process_count()
    batches = share_of(count, process_index(), processes).split(batch_size)
    drawn = []
    for chosen in tqdm(batches, desc="drawing", unit="batch", disable=not show_progress or process_index() > 0):
        places = chosen.tolist()
        labels, own_seeds = [class_labels[i] for i in places], [seeds[i] for i in places]
        (images,) = pipeline(labels, generator=own_seeds, output_type="pt", return_dict=False, **arguments)
        drawn.append(images)
    images = torch.cat(drawn).contiguous()
    return join_shares(gather(images) if processes > 1 else images, count, processes).cpu()
