"""What of a folder goes to others, by a push and by `text2digit space`: a list, no links, no paths of this machine."""

import json
import os
import shutil
from functools import reduce

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import load_file, save_file

from text2digit import DigitPipeline, cli
from text2digit.config import load_config, save_config
from text2digit.evaluation.classifier import pipeline_identity
from text2digit.pipelines.loading import SHIPPED_FOLDER
from text2digit.sharing.facts import read_facts, read_report
from text2digit.sharing.files import copy_pipeline
from text2digit.sharing.tree import build_tree

from ..conftest import make_text_pipeline
from .conftest import add_run
from .hub_server import Repository

# What may lie in a run's folder by accident, and is nobody else's business.
PRIVATE = (
    *("secrets.json", "notes.txt", "README.md", "private/keys.txt", ".git/config.json", ".env"),
    *("checkpoint-000030/state.json", "denoiser/notes.txt", "denoiser/private.json", "denoiser/tokenizer.json"),
    *("denoiser/diffusion_pytorch_model.backup.safetensors", "denoiser/deep/keys.json", "scheduler/config.json"),
    *("scheduler/x.safetensors", "evaluation/diary.json", "evaluation/diary.md", "evaluation/me.png"),
    *("samples/me.png", "samples/step-home.png", "me.png", "samples.npz", "extra.safetensors"),
)
SECRET = b"SECRET"


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def source(model, tmp_path):
    """A copy of a measured run, to change."""
    return shutil.copytree(model, tmp_path / "mine")


@pytest.fixture(params=["push", "space"])
def share(request, source, tmp_path, monkeypatch, capsys):
    """Share by either command; returns the status, what was written, and what was said."""
    if request.param == "space":
        pytest.importorskip("gradio", reason="needs the extra gui")
    told = {way: {"pipeline": "A"} for way in ("with_package", "without_package")}
    monkeypatch.setattr("text2digit.sharing.tree.load_tree_back", lambda tree: told)  # has a test of its own

    def call(model=source):
        out = tmp_path / "out"
        more = ["--repo", "ada/x", "--dry-run"] if request.param == "push" else []
        status = cli.main([request.param, "--model", str(model), "--out", str(out), *more])
        said = capsys.readouterr()
        home = out if request.param == "push" else out / source.name
        return status, files_of(home) if home.exists() else {}, said.out + said.err

    return call


def test_only_files_on_the_list_are_shared_and_the_rest_is_named(share, source):
    """Catches a copy by pattern (every *.json of a folder), and checkpoints in a Space."""
    for name in PRIVATE:
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes(SECRET)
    status, files, said = share()
    assert status == 0, said
    assert not set(PRIVATE) - {"README.md"} & set(files) and not [n for n, c in files.items() if SECRET in c]
    left = said.split("left at home: ")[1]
    for name in ("secrets.json", "private/", ".git/", "checkpoint-000030/", "denoiser/notes.txt"):
        assert name in left
    assert {"model_index.json", "denoiser/config.json", "scheduler/scheduler_config.json"} <= set(files)
    assert {"config.yaml", "history.jsonl", "loss.png", "evaluation/report.json"} <= set(files)


def test_a_long_list_of_what_stays_is_cut_and_shows_no_control_character(share, source):
    for i in range(1000):
        (source / f"z{i}").touch()
    (source / "a\x1b[31m\nred").touch()
    said = share()[2]
    line = next(line for line in said.splitlines() if line.startswith("left at home: "))
    assert "a\\x1b[31m\\nred" in line and "\x1b" not in said and "more" in line and len(line) < 1000


@pytest.mark.parametrize(
    "link",
    [
        *("denoiser/linked.json", "denoiser/config.json", "denoiser", "evaluation", "evaluation/report.json"),
        *("evaluation/linked.json", "samples", "samples/step-000031.png", "config.yaml", "history.jsonl"),
        *("samples.png", "model_index.json", "scheduler/linked", "denoiser/broken.json"),
    ],
)
def test_a_link_is_refused_by_name_and_nothing_is_written(share, source, tmp_path, link):
    """Its content lies elsewhere, and nobody said that it may leave this machine."""
    path, elsewhere = source / link, tmp_path / "elsewhere"
    if path.exists():
        path.rename(elsewhere)
    elif link != "denoiser/broken.json":
        elsewhere.write_bytes(SECRET)
    path.symlink_to(elsewhere)
    status, files, said = share()
    assert status == 2 and f"{path}: is a link, and links are not shared" in said
    assert files == {} and not (tmp_path / "out").exists()


def test_a_link_that_no_command_would_read_is_left_at_home(share, source, tmp_path):
    """Trackers put links such as `latest-run` into a run's folder; they are no reason to refuse it."""
    (tmp_path / "keys.txt").write_bytes(SECRET)
    (source / "latest").symlink_to(tmp_path / "keys.txt")
    status, files, said = share()
    assert status == 0 and "latest" in said and not [n for n, c in files.items() if SECRET in c]


def test_a_folder_that_is_named_by_a_link_is_shared(share, source, tmp_path):
    """The link was typed by the one who shares: `--model runs/latest`."""
    (tmp_path / "latest").symlink_to(source)
    status, _, said = share(tmp_path / "latest")
    assert status == 0, said


@pytest.mark.parametrize("name", ["denoiser/config.json", "loss.png", "evaluation/worst.png"])
def test_what_is_no_regular_file_is_refused(share, source, name):
    """A FIFO would hang the copy for ever, and a folder ends it half way."""
    (source / name).unlink(missing_ok=True)
    os.mkfifo(source / name) if name == "loss.png" else (source / name).mkdir()
    status, files, said = share()
    assert status == 2 and f"{source / name}: expected a regular file" in said and files == {}


def test_shards_that_lie_elsewhere_are_refused(share, source, tmp_path):
    """An index of weights can name a file outside of its folder; a push must not fetch it."""
    save_file({}, tmp_path / "secret.safetensors")
    shards = {"metadata": {}, "weight_map": {"a": "../../secret.safetensors"}}
    (source / "denoiser" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(shards))
    status, files, said = share()
    assert status == 2 and "points to '../../secret.safetensors'" in said and files == {}


def test_no_path_of_this_machine_is_shared(share, source):
    """Where data, runs and first weights lay is written into configs and reports, and says who trained it where."""
    place = "/home/ada/private"
    places = {"data.data_dir": "data", "training.output_dir": "run", "training.resume": "checkpoint-000030"}
    places |= {"training.pretrained_model_name_or_path": "first", "text.encoder": "clip"}
    config = load_config("text", [f"{key}={place}/{name}" for key, name in places.items()])
    save_config(config, source / "config.yaml")
    for name in ("model_index.json", "denoiser/config.json"):
        content = json.loads((source / name).read_text())
        (source / name).write_text(json.dumps({**content, "_name_or_path": f"{place}/x"}))
    report = json.loads((source / "evaluation" / "report.json").read_text())
    report["settings"]["model"] = f"{place}/letters"
    report["sets"] = {f"{place}/letters": report["sets"]["mine"]}
    (source / "evaluation" / "report.json").write_text(json.dumps(report))
    status, files, said = share()
    assert status == 0, said
    assert not [name for name, content in files.items() if place.encode() in content or b"/secret/" in content]
    assert "letters" in json.loads(files["evaluation/report.json"])["sets"]
    assert b"encoder: clip" in files["config.yaml"] and b"path: first" in files["config.yaml"]


@pytest.mark.parametrize("name", [".", "./", "/", "~", "", "mine", "ada/mine", "runs/mine"])
def test_a_report_by_a_name_that_is_no_path_is_shared_as_it_is(source, tmp_path, name):
    """Catches "." being taken out of every number of a report, for `evaluate --model .`"""
    path = source / "evaluation" / "report.json"
    report = json.loads(path.read_text())
    report["settings"]["model"] = name
    path.write_text(json.dumps(report))
    build_tree(source, tmp_path / "tree", "ada/x")
    report["settings"]["guidance_interval"] = [0.0, 1.0]  # which reports of earlier versions do not say
    assert json.loads((tmp_path / "tree" / "evaluation" / "report.json").read_text()) == report


# --- what lies inside of files ---------------------------------------------------------------------------------------


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


# --- weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stray", ["model.safetensors", "a.safetensors", "diffusion_pytorch_model.old.safetensors"])
def test_stray_weights_neither_go_nor_change_what_is_told(source, tmp_path, stray):
    """They changed the hash that a report is known by, so its figures vanished; and `info` counted their weights."""
    before = read_facts(source).denoiser
    shutil.copyfile(source / "denoiser" / "diffusion_pytorch_model.safetensors", source / "denoiser" / stray)
    assert read_facts(source).denoiser == before
    entries = build_tree(source, tmp_path / "tree", "ada/x")
    assert f"denoiser/{stray}" not in {entry.name for entry in entries}
    assert "## Measured" in (tmp_path / "tree" / "README.md").read_text(encoding="utf-8")


def test_sharded_weights_and_variants_are_shared(source, tmp_path):
    """All that `from_pretrained` can ask for; shards that no index names are left."""
    pipe = DigitPipeline.from_pretrained(source)
    pipe.save_pretrained(source, variant="fp16")
    tensors = load_file(source / "denoiser" / "diffusion_pytorch_model.safetensors")
    pipe.denoiser.save_pretrained(source / "denoiser", max_shard_size="30KB")
    (source / "denoiser" / "diffusion_pytorch_model.safetensors").unlink(missing_ok=True)
    shutil.copyfile(
        source / "denoiser" / "diffusion_pytorch_model.fp16.safetensors",
        source / "denoiser" / "diffusion_pytorch_model-00077-of-00099.safetensors",
    )
    assert read_facts(source).denoiser.parameters == sum(tensor.numel() for tensor in tensors.values())
    names = {entry.name.partition("/")[2] for entry in build_tree(source, tmp_path / "tree", "ada/x")}
    assert {"diffusion_pytorch_model.safetensors.index.json", "diffusion_pytorch_model.fp16.safetensors"} <= names
    assert "diffusion_pytorch_model-00077-of-00099.safetensors" not in names
    assert sum("-of-" in name for name in names) > 1
    DigitPipeline.from_pretrained(tmp_path / "tree")
    DigitPipeline.from_pretrained(tmp_path / "tree", variant="fp16")


def test_a_text_model_is_shared_whole(tokenizer, tmp_path):
    make_text_pipeline(tokenizer).save_pretrained(tmp_path / "words")
    (tmp_path / "words" / "tokenizer" / "config.json").write_bytes(SECRET)
    path = tmp_path / "words" / "tokenizer" / "tokenizer_config.json"
    places = dict.fromkeys(("name_or_path", "special_tokens_map_file"), "/home/ada/x")
    path.write_text(json.dumps({**json.loads(path.read_text()), **places}))
    names = {entry.name for entry in build_tree(tmp_path / "words", tmp_path / "tree", "ada/words")}
    wanted = {"text_encoder/config.json", "text_encoder/model.safetensors", "tokenizer/tokenizer.json"}
    assert wanted | {"tokenizer/tokenizer_config.json"} <= names and "tokenizer/config.json" not in names
    assert "/home/ada" not in (tmp_path / "tree" / "tokenizer" / "tokenizer_config.json").read_text()
    DigitPipeline.from_pretrained(tmp_path / "tree")


def test_a_download_from_the_hub_can_be_shared(hub, client, built):
    """The cache of downloads is made of links into itself, which are no links to elsewhere."""
    hub.repositories["ada/cached"] = Repository()
    hub.repositories["ada/cached"].commit("main", files_of(built.folder))
    code = """
from pathlib import Path
from text2digit.pipelines.loading import find_pipeline_folder
from text2digit.sharing.tree import build_tree
source = find_pipeline_folder("ada/cached", {})
assert (source / "denoiser" / "config.json").is_symlink()
result = [entry.name for entry in build_tree(source, Path(out), "ada/again")]
(source / "denoiser" / "config.json").unlink()
(source / "denoiser" / "config.json").symlink_to(elsewhere)
build_tree(source, Path(out + "2"), "ada/again")
"""
    values = {"out": str(client.folder / "again"), "elsewhere": str(built.folder / "denoiser" / "config.json")}
    answer = client.run(code, **values)
    assert answer.result and "denoiser/diffusion_pytorch_model.safetensors" in answer.result
    assert "denoiser/config.json: is a link, and links are not shared" in answer.error
