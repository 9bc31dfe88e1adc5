"""What the tests of pipelines share."""

FAST = {"num_inference_steps": 3, "output_type": "pt"}


def draw(pipeline, labels=(3, 7), **arguments):
    """Three steps, seeds from 0, a tensor."""
    return pipeline(list(labels), **{**FAST, "generator": 0, **arguments}).images


class Spy:
    """Counts the forwards of a denoiser and the images in them."""

    def __init__(self, pipeline):
        self.batches = []
        pipeline.denoiser.register_forward_pre_hook(lambda module, args: self.batches.append(len(args[0])))
