"""`DigitInpaintPipeline`: a part of an image drawn anew, the rest kept to the pixel."""

from collections.abc import Sequence
from typing import Any

from diffusers.image_processor import PipelineImageInput
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput

from .conditioners import Labels
from .pipeline_img2img import DigitImg2ImgPipeline


class DigitInpaintPipeline(DigitImg2ImgPipeline):
    """Draws what a mask leaves open, by the weights of classes or of texts; made and loaded like its base class.

    No weights are trained for it: at each step the known part is put back with the noise of the level (2201.09865).
    """

    def __call__(  # type: ignore[override]
        self,
        prompt: str | Sequence[str] | None = None,
        image: PipelineImageInput | None = None,
        mask_image: PipelineImageInput | None = None,
        strength: float = 1.0,
        class_labels: Labels | None = None,
        negative_prompt: str | Sequence[str] | None = None,
        **arguments: Any,
    ) -> ImagePipelineOutput | tuple[Any]:
        """Draw the open part.

        Args:
            mask_image: PIL, array or tensor, one or a batch: white is drawn anew, black is kept.
            strength: 1 draws the open part from nothing; less keeps some of it.
            prompt, image, class_labels, negative_prompt, arguments: as in `DigitImg2ImgPipeline`.

        Returns:
            `.images`; where the mask is black they are those of `image`.

        Raises:
            ValueError: for any argument that is out of range; the message says what was expected.
        """
        if mask_image is None:
            raise ValueError("mask_image: got None, expected a mask, white where the image is to be drawn anew.")
        inputs = {"prompt": prompt, "class_labels": class_labels}
        return self.redraw(inputs, image, mask_image, strength, negative_prompt, **arguments)
