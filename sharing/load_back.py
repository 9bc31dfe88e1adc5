"""Loads a folder in both ways in which people will, and compares what is drawn; run as a process of its own.

`python -c TEXT FOLDER`: this text is run by its content, not as a module, because a process that has imported the
package proves nothing about one that cannot. First come people without it: `text2digit` is made impossible to import.
Prints JSON: what was loaded by each, and whether the images are the same to the bit.
"""

import hashlib
import json
import sys


class Absent:
    """Makes Python behave as if the package were not installed."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "text2digit":
            raise ModuleNotFoundError("No module named 'text2digit'", name="text2digit")
        return None


def draw(pipeline) -> str:
    """SHA-256 of two small images, of seeds 0 and 1."""
    import torch

    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    ask = {"prompt": ["3", "7"]} if "tokenizer" in pipeline.components else {"class_labels": [0, 1]}
    images = pipeline(**ask, num_inference_steps=3, generator=generators, output_type="np").images
    return hashlib.sha256(images.tobytes()).hexdigest()


def names(pipeline) -> dict[str, str]:
    """Class of the pipeline and of each component."""
    parts = {"pipeline": pipeline, **{name: part for name, part in pipeline.components.items() if part is not None}}
    return {name: f"{type(part).__module__}.{type(part).__name__}" for name, part in parts.items()}


def main(folder: str) -> None:
    """Load twice, draw twice, tell."""
    from diffusers import DiffusionPipeline
    from diffusers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    absent = Absent()
    sys.meta_path.insert(0, absent)
    try:
        DiffusionPipeline.from_pretrained(folder)
        refuses = False
    except ValueError as error:
        refuses = "trust_remote_code" in str(error)
    stranger = DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
    without_package, images = names(stranger), [draw(stranger)]
    assert "text2digit" not in sys.modules

    sys.meta_path.remove(absent)
    from text2digit.pipelines import DigitPipeline

    own = DigitPipeline.from_pretrained(folder)
    images.append(draw(own))
    classes = {"without_package": without_package, "with_package": names(own)}
    print(json.dumps({"refuses_without_trust": refuses, "images": images, **classes}))


if __name__ == "__main__":
    main(sys.argv[1])
