"""What lies inside of shared files: what the libraries read goes to others, and nothing that was hidden beside it."""

import json
from functools import reduce

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from text2digit import DigitPipeline
from text2digit.evaluation.classifier import pipeline_identity
from text2digit.pipelines.loading import SHIPPED_FOLDER
from text2digit.sharing.facts import read_facts, read_report
from text2digit.sharing.files import copy_pipeline
from text2digit.sharing.tree import build_tree

from ..conftest import make_text_pipeline
from .conftest import SECRET, add_run, files_of


def hide_in_picture(path):
    """In a text chunk, in EXIF, as a colour profile, and behind the end of the picture."""
    texts, exif = PngInfo(), Image.Exif()
    texts.add_text("Author", SECRET.decode())
    texts.add_itxt("Comment", SECRET.decode(), zip=False)
    exif[0x013B] = SECRET.decode()
    Image.open(path).save(path, pnginfo=texts, exif=exif, icc_profile=SECRET)
    path.write_bytes(path.read_bytes() + SECRET)


def hide_in_weights(path):
    """In the metadata, beside the shape of a tensor, and in place of the spaces behind the header."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = {"format": "pt", "note": SECRET.decode()}
    header[next(name for name in header if name != "__metadata__")]["note"] = SECRET.decode()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[end:])


def hide_in_json(path, *inner):
    """As one more key of the object, and of objects in it."""
    content = json.loads(path.read_text()) if path.exists() else {}
    for place in (content, *(reduce(lambda value, key: value[key], keys, content) for keys in inner)):
        place["note"] = SECRET.decode()
    path.write_text(json.dumps(content))


@pytest.fixture
def full(tokenizer, tmp_path):
    """A measured run of a text model in shards, with all files that a run may have, to hide something in."""
    folder = tmp_path / "full"
    make_text_pipeline(tokenizer).save_pretrained(folder, max_shard_size="30KB")
    add_run(folder)
    session = {"device": "cpu", "num_processes": 1, "num_threads": 2, "versions": {"torch": "2"}}
    (folder / "run.json").write_text(json.dumps({"sessions": [session]}))
    for name in ("worst.png", "samples.png"):
        Image.new("RGB", (9, 9), (1, 2, 3)).save(folder / "evaluation" / name)
    return folder


def test_what_lies_inside_of_files_stays_at_home(full, tmp_path):
    """Would catch a copy of bytes: texts in pictures, metadata of weights, keys and lines that nobody reads."""
    for path in full.rglob("*.png"):
        hide_in_picture(path)
    for path in full.rglob("*.safetensors"):
        hide_in_weights(path)
    for path in full.rglob("*.index.json"):
        content = json.loads(path.read_text())
        path.write_text(json.dumps(content | {"metadata": {**content["metadata"], "note": "SECRET"}}))
    hide_in_json(full / "run.json", ["sessions", 0])
    hide_in_json(full / "scheduler" / "scheduler_config.json")
    content = json.loads((full / "tokenizer" / "tokenizer.json").read_text())
    content["added_tokens"][0]["note"] = "SECRET"
    (full / "tokenizer" / "tokenizer.json").write_text(json.dumps(content))
    with (full / "history.jsonl").open("a") as history:
        history.write('{"step": 31, "SECRET": 1}\nSECRET\n{"step": 32, "note": "SECRET"}\n{"step": 33, "SECR')
    report = json.loads((full / "evaluation" / "report.json").read_text())
    report["settings"] |= pipeline_identity(full)
    (full / "evaluation" / "report.json").write_text(json.dumps(report))
    hide_in_json(full / "evaluation" / "report.json", ["settings"], ["sets", "mine"], ["sets", "mine", "mean"])
    (full / "evaluation" / "report.md").write_bytes(SECRET)
    hidden = {path.relative_to(full).as_posix() for path in full.rglob("*") if path.is_file()}
    hidden = {name for name in hidden if b"SECR" in (full / name).read_bytes()}
    entries = build_tree(full, tmp_path / "tree", "ada/words")
    shared = {entry.name for entry in entries}
    assert hidden <= shared | {"samples/step-000030.png"} and len(hidden) > 12  # each had something to leave behind
    assert not [name for name, content in files_of(tmp_path / "tree").items() if b"SECR" in content]
    for name in ("evaluation/worst.png", "samples.png"):
        picture = Image.open(tmp_path / "tree" / name)
        picture.load()
        assert not picture.info
    assert Image.open(tmp_path / "tree" / "evaluation" / "worst.png").getpixel((0, 0)) == (1, 2, 3)
    pipe, shown = (DigitPipeline.from_pretrained(folder) for folder in (full, tmp_path / "tree"))
    for part in ("denoiser", "text_encoder"):
        ours, theirs = getattr(pipe, part).state_dict(), getattr(shown, part).state_dict()
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert pipe.tokenizer("a thin 4").input_ids == shown.tokenizer("a thin 4").input_ids
    assert [line["step"] for line in read_facts(tmp_path / "tree").history] == [20, 30, 31]


def test_a_report_is_of_the_weights_that_are_sent(full, tmp_path):
    """Would catch figures that vanish from the card, because what was left out of a file changed its hash."""
    hide_in_weights(next((full / "denoiser").glob("*.safetensors")))
    hide_in_json(full / "scheduler" / "scheduler_config.json")
    report = json.loads((full / "evaluation" / "report.json").read_text())
    report["settings"] |= pipeline_identity(full)
    (full / "evaluation" / "report.json").write_text(json.dumps(report))
    build_tree(full, tmp_path / "tree", "ada/words")
    assert read_report(tmp_path / "tree") is not None
    assert "## Measured" in (tmp_path / "tree" / "README.md").read_text(encoding="utf-8")
    assert "| mine (n = 2,000) |" in (tmp_path / "tree" / "evaluation" / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["unet-mnist", "dit-mnist", "text-mnist"])
def test_what_the_libraries_wrote_is_sent_as_it_is(name, tmp_path):
    """Would catch a push that changes weights, configurations or figures that hold nothing but what is read."""
    copy_pipeline(SHIPPED_FOLDER / name, tmp_path / name)
    files = files_of(tmp_path / name)
    same = [name for name in files if name.endswith((".json", ".jsonl", ".safetensors"))]
    assert len(same) > 5 and all(files[each] == (SHIPPED_FOLDER / name / each).read_bytes() for each in same)


@pytest.mark.parametrize("name", ["loss.png", "evaluation/worst.png"])
def test_what_is_no_picture_is_refused(share, source, name):
    """Would catch any file being shared under the name of a picture."""
    (source / name).write_bytes(SECRET)
    status, files, said = share()
    assert status == 2 and str(source / name) in said and name not in files
