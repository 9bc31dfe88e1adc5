"""Where digits are lost: real ones, drawn again from more and more noise."""

import torch

from text2digit.evaluation import strengths
from text2digit.evaluation.judge import evenly
from text2digit.models import DigitUNet2DModel
from text2digit.pipelines import ClassConditionedDigitPipeline
from text2digit.schedulers import DDIMScheduler


def test_no_noise_leaves_digits_and_noise_loses_them(judge):
    """Catches strengths that are not followed, digits that lose their own class, and images of another scale."""
    denoiser, asked = DigitUNet2DModel(sample_size=8, block_out_channels=(16, 32)), []
    denoiser.register_forward_pre_hook(
        lambda _, __, said: asked.extend(said["class_labels"].tolist()), with_kwargs=True
    )
    pipeline = ClassConditionedDigitPipeline(denoiser, DDIMScheduler(prediction_type="v_prediction"))
    none, some, all_ = strengths.by_strength(pipeline, judge, (0.0, 0.25, 1.0), 120)
    real = judge.score(evenly(judge.held_out, 120).images, evenly(judge.held_out, 120).labels, pixels=False).figures
    assert none == {"strength": 0, **{name: real[name] for name in ("accuracy", "frechet_distance")}}
    assert none["accuracy"] > 0.9 > all_["accuracy"]
    assert none["frechet_distance"] < some["frechet_distance"] < all_["frechet_distance"]
    labels = (torch.arange(120) % 10).tolist()
    assert asked == [label for steps in (5, 20) for batch in (labels[:100], labels[100:]) for label in batch * steps]


def test_no_such_model(capsys):
    assert strengths.main(["--model", "no-such"]) == 2
    assert "error: no-such" in capsys.readouterr().err
