"""Real images, held in memory, in an order that follows from the seed and the step alone."""

from .batches import batch_indices, counter_generator, counter_seed
from .cache import cache_folder, computed_once
from .datasets import SOURCES, describe_data, load_dataset, load_splits, load_training_data, without_images
from .images import ImageData, every_nth_of_each_class, to_x_0

__all__ = [
    "SOURCES",
    "ImageData",
    "batch_indices",
    "cache_folder",
    "computed_once",
    "counter_generator",
    "counter_seed",
    "describe_data",
    "every_nth_of_each_class",
    "load_dataset",
    "load_splits",
    "load_training_data",
    "to_x_0",
    "without_images",
]
