"""The digit classifier whose features the figures are computed in, and how it is loaded.

B images of C channels, W features, K classes.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME, BaseOutput
from torch import nn

from ..data import to_x_0
from ..models.saved import weight_files

# Not a pipeline, so it lies among the weights that ship without being one of their names.
CLASSIFIER_FOLDER = Path(__file__).resolve().parent.parent / "pretrained" / "mnist-classifier"
BATCH_SIZE = 500


@dataclass
class ClassifierOutput(BaseOutput):
    """What a classifier says.

    Attributes:
        logits: (B, K).
        features: (B, W), what the last layer sees: 0 or more.
    """

    logits: torch.Tensor
    features: torch.Tensor


def _block(in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU; the side shrinks by the stride alone."""
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU())


class DigitClassifier(ModelMixin, ConfigMixin):
    """A small convolutional network: two levels of two blocks above a strided stem, averaged over the image.

    Args:
        in_channels: C of the images.
        num_classes: K.
        block_out_channels: channels of the stem and of the two levels; the last is the width W of the features. It is
            kept far below the number of images that a covariance of features is estimated from.
    """

    @register_to_config
    def __init__(
        self, in_channels: int = 1, num_classes: int = 10, block_out_channels: tuple[int, int, int] = (32, 64, 96)
    ):
        super().__init__()
        stem, middle, last = block_out_channels
        self.blocks = nn.Sequential(
            _block(in_channels, stem, kernel_size=5, stride=2),
            _block(stem, middle),
            _block(middle, middle, stride=2),
            _block(middle, last),
            _block(last, last),
        )
        self.head = nn.Linear(last, num_classes)

    def forward(self, sample: torch.Tensor, return_dict: bool = True) -> ClassifierOutput | tuple[torch.Tensor, ...]:
        """Classify.

        Args:
            sample: (B, C, H, W') in [-1, 1], of any side from 4 pixels up.
            return_dict: return a `ClassifierOutput`, else (logits, features).
        """
        features = self.blocks(sample).mean(dim=(2, 3))
        logits = self.head(features)
        return ClassifierOutput(logits=logits, features=features) if return_dict else (logits, features)


def load_classifier(folder: str | Path = CLASSIFIER_FOLDER) -> DigitClassifier:
    """The classifier that ships, or another, in evaluation mode.

    Raises:
        FileNotFoundError: no such folder, or one without the two files.
    """
    for name in (DigitClassifier.config_name, SAFETENSORS_WEIGHTS_NAME):
        if not (Path(folder) / name).is_file():
            raise FileNotFoundError(
                f"{folder}: no {name}; pass a folder that python -m text2digit.evaluation.train_classifier wrote."
            )
    return DigitClassifier.from_pretrained(folder, use_safetensors=True).eval()


def sha256(*paths: Path) -> str:
    """SHA-256 of files, one after the other: of one file it is what `sha256sum` says."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def weights_sha256(folder: str | Path) -> str:
    """SHA-256 of the weights that a folder's model is loaded from, in the order of their names.

    Raises:
        FileNotFoundError: there are none.
    """
    paths = weight_files(Path(folder))
    if not paths:
        raise FileNotFoundError(f"{folder}: no safetensors to take the hash of.")
    return sha256(*paths)


def pipeline_identity(folder: str | Path) -> dict[str, str]:
    """Return what figures of a pipeline are true of: hashes of its weights and of its scheduler's config.

    Keys of the config that say who wrote it do not count.

    Raises:
        FileNotFoundError: a folder without weights or without a scheduler.
    """
    folder = Path(folder)
    config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    kept = {name: value for name, value in config.items() if name == "_class_name" or not name.startswith("_")}
    scheduler = hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
    identity = {"model_sha256": weights_sha256(folder / "denoiser"), "scheduler_sha256": scheduler}
    if (folder / "text_encoder").is_dir():
        identity["text_encoder_sha256"] = weights_sha256(folder / "text_encoder")
    return identity


@torch.inference_mode()
def classify(classifier: DigitClassifier, images: torch.Tensor) -> ClassifierOutput:
    """Logits and features of many images.

    Args:
        classifier: in evaluation mode; its device is used.
        images: (N, C, H, W') uint8.

    Returns:
        Tensors of N rows, float32, on the CPU.
    """
    parts: list[Any] = []
    for batch in images.split(BATCH_SIZE):
        output = classifier(to_x_0(batch.to(classifier.device)))
        parts.append((output.logits.cpu(), output.features.cpu()))
    logits, features = zip(*parts, strict=True)
    return ClassifierOutput(logits=torch.cat(logits), features=torch.cat(features))
