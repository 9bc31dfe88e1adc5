"""What of a folder goes to others, by a push and by `text2digit space`: a list, no links, no paths of this machine."""

import json
import os

import pytest
from safetensors.torch import save_file

from text2digit.config import load_config, save_config
from text2digit.sharing.tree import build_tree

from .conftest import SECRET

# What may lie in a run's folder by accident, and is nobody else's business.
PRIVATE = (
    *("secrets.json", "notes.txt", "README.md", "private/keys.txt", ".git/config.json", ".env"),
    *("checkpoint-000030/state.json", "denoiser/notes.txt", "denoiser/private.json", "denoiser/tokenizer.json"),
    *("denoiser/diffusion_pytorch_model.backup.safetensors", "denoiser/deep/keys.json", "scheduler/config.json"),
    *("scheduler/x.safetensors", "evaluation/diary.json", "evaluation/diary.md", "evaluation/me.png"),
    *("samples/me.png", "samples/step-home.png", "me.png", "samples.npz", "extra.safetensors"),
)


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
