"""The picture of drawing again, by classes and by words."""

import pytest
import torch
from PIL import Image

from text2digit.evaluation import redrawn


@pytest.mark.parametrize("kind", ["pipeline", "text_pipeline"])
def test_rows_are_what_they_are_said_to_be(kind, request, tmp_path, monkeypatch, capsys):
    """Catches rows that ignore what is asked: strength changes the first, the lower half is kept along the second."""
    monkeypatch.setattr(redrawn, "STEPS", 5)
    pipeline = request.getfixturevalue(kind)
    pipeline.save_pretrained(tmp_path / "model")
    file = tmp_path / "again.png"
    assert redrawn.main(["--model", str(tmp_path / "model"), "-o", str(file)]) == 0
    assert "drawn again" in capsys.readouterr().out and Image.open(file).height < Image.open(file).width
    images = redrawn.redrawn(pipeline).view(3, 10, 1, 28, 28)
    start = images[0, 0]
    assert torch.allclose(images[1, :, :, 14:], start[:, 14:].expand(10, 1, 14, 28), atol=2e-3)
    assert not torch.allclose(images[1, 3, :, :14], images[1, 8, :, :14], atol=1e-3)
    assert len({image.numpy().tobytes() for image in images[0, ::3]}) == 4
    assert not torch.allclose(images[2, 0], images[2, 9], atol=1e-3)


def test_no_such_model(capsys):
    assert redrawn.main(["--model", "no-such"]) == 2
    assert "error: no-such" in capsys.readouterr().err
