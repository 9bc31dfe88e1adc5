"""Cards and `text2digit info`: what was measured and recorded, and nothing else."""

import dataclasses
import json
import re
import shutil
import time

import pytest
from huggingface_hub import ModelCard

from text2digit import DigitPipeline, cli
from text2digit.config import load_config
from text2digit.models.saved import safetensors_header
from text2digit.pipelines.loading import SHIPPED_FOLDER
from text2digit.sharing.facts import read_facts, read_report
from text2digit.sharing.tree import build_tree, recipe_of

from .conftest import add_run, save_model


def test_a_card_is_made_of_what_was_measured(built):
    card = ModelCard.load(built.folder / "README.md")
    data = card.data.to_dict()
    assert data["library_name"] == "diffusers" and data["license"] == "apache-2.0"
    assert data["datasets"] == ["ylecun/mnist"] and {"text2digit", "mnist", "custom_code"} <= set(data["tags"])
    figures = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert figures == {"frechet_distance": 1.2345678, "accuracy": 0.875}
    assert data["model-index"][0]["name"] == "digits"
    for text in ("1.2346", "87.50%", "n = 2,000", "0.2345", "0.3456", "30 of 64 images"):
        assert text in card.content


def test_every_file_that_a_card_points_to_is_there(built):
    text = (built.folder / "README.md").read_text(encoding="utf-8")
    names = re.findall(r"\]\(([^)#]+)\)", text)
    assert {"samples.png", "loss.png", "config.yaml", "recipe.yaml", "evaluation/report.json"} <= set(names)
    assert all((built.folder / name).is_file() for name in names)


@pytest.mark.parametrize("report", ["none", "of other weights"])
def test_a_figure_that_was_not_measured_is_not_on_the_card(report, tmp_path):
    """A report that lies beside other weights, say of an earlier run in the same folder, is not of these."""
    source = save_model(tmp_path / "mine")
    if report == "of other weights":
        add_run(source, measured=False)
    build_tree(source, tmp_path / "tree", "ada/digits")
    card = ModelCard.load(tmp_path / "tree" / "README.md")
    assert card.data.eval_results is None and "Measured" not in card.content and "1.23" not in card.content
    assert not (tmp_path / "tree" / "evaluation").exists()


def test_nothing_is_told_of_a_training_that_was_not_recorded(tmp_path):
    build_tree(save_model(tmp_path / "mine"), tmp_path / "tree", "ada/digits")
    card = ModelCard.load(tmp_path / "tree" / "README.md")
    assert "Not recorded" in card.content and "MNIST" not in card.content and "datasets" not in card.data.to_dict()


def test_the_examples_on_a_card_run(built, tmp_path, monkeypatch):
    """As they stand there, but for the Hub, in whose place the folder is; both draw the same file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    codes = re.findall(r"```python\n(.*?)```", (built.folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(codes) == 2
    drawn = []
    for code in codes:
        exec(compile(code.replace('"ada/digits"', repr(str(built.folder))), "README.md", "exec"), {})
        drawn.append((tmp_path / "digit.png").read_bytes())
    assert drawn[0] == drawn[1]


def test_the_recipe_and_the_config_make_the_same_run(built):
    """The recipe is what differs from the defaults; catches one that forgets a change, or a path of the machine."""
    config, recipe = (load_config(built.folder / name) for name in ("config.yaml", "recipe.yaml"))
    assert config == recipe and config.optim.lr == 0.002
    assert config.training.pretrained_model_name_or_path == "first"
    assert "/secret/place" not in "".join(p.read_text() for p in built.folder.glob("*.yaml"))
    assert "lr: 0.002" in recipe_of(config) and "weight_decay" not in recipe_of(config)


def test_a_tree_is_not_mixed_with_other_files(model, tmp_path):
    (tmp_path / "own.txt").write_text("mine")
    with pytest.raises(ValueError, match="expected a folder that is empty"):
        build_tree(model, tmp_path, "ada/digits")
    assert [path.name for path in tmp_path.iterdir()] == ["own.txt"]


def test_only_what_is_shared_is_in_the_tree(built):
    """Checkpoints, which are larger than all else, stay at home."""
    names = {entry.name for entry in built.entries}
    assert names == {
        *("README.md", "model_index.json", "pipeline.py", "config.yaml", "recipe.yaml", "history.jsonl"),
        *("loss.png", "samples.png", "evaluation/report.json", "evaluation/report.md"),
        *("denoiser/config.json", "denoiser/diffusion_pytorch_model.safetensors", "denoiser/unet_digit.py"),
        *("scheduler/scheduler_config.json", "scheduler/scheduling_ddim_digit.py"),
    }


def test_a_scheduler_of_diffusers_stays_theirs(tmp_path):
    import diffusers

    pipe = DigitPipeline.from_pretrained(save_model(tmp_path / "mine"))
    pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.save_pretrained(tmp_path / "theirs")
    build_tree(tmp_path / "theirs", tmp_path / "tree", "ada/digits")
    index = json.loads((tmp_path / "tree" / "model_index.json").read_text())
    assert index["scheduler"] == ["diffusers", "DDIMScheduler"]
    assert [path.name for path in (tmp_path / "tree" / "scheduler").iterdir()] == ["scheduler_config.json"]


# --- values of others ------------------------------------------------------------------------------------------------

HOSTILE = "<img src=x onerror=alert(1)>|**b**\n\n---\n# h\n[l](http://e.vil) ![i](x.png) `c` $m$ &amp; www.e.vil"
HOSTILE += " a@e.vil \x1b[31m\u202e\ud800 ~~s~~ {{ x }} https://e.vil <script>"


def with_strings(value, text):
    """The same JSON with `text` after every text of it, and in its free keys."""
    if isinstance(value, dict):
        return {key: with_strings(each, text) for key, each in value.items()}
    if isinstance(value, list):
        return [with_strings(each, text) for each in value]
    return value + text if isinstance(value, str) and len(value) != 64 else value


@pytest.fixture
def hostile(model, tmp_path):
    """A measured run, whose report and record say what somebody wants the page to be."""
    source = shutil.copytree(model, tmp_path / "mine")
    run = {"device": "cpu", "num_processes": 1, "num_threads": 2, "versions": {"torch": "2", HOSTILE: HOSTILE}}
    (source / "run.json").write_text(json.dumps(with_strings({"sessions": [run]}, HOSTILE)))
    report = with_strings(json.loads((source / "evaluation" / "report.json").read_text()), HOSTILE)
    entry = report["sets"].pop("mine")
    report["sets"] = {"mine": entry, f"real {HOSTILE}": entry}
    (source / "evaluation" / "report.json").write_text(json.dumps(report))
    return source


def test_markup_in_values_is_shown_as_text(hostile, tmp_path):
    """A report of others is no part of the page: no picture, link, heading, code or row more than without it."""
    markdown_it = pytest.importorskip("markdown_it")
    reader = markdown_it.MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    (tmp_path / "plain").mkdir()
    build_tree(hostile, tmp_path / "tree", "ada/digits")
    for name in ("run.json", "evaluation/report.json"):
        text = (hostile / name).read_text()
        (hostile / name).write_text(text.replace(json.dumps(HOSTILE)[1:-1], ""))
    build_tree(hostile, tmp_path / "plain" / "tree", "ada/digits")
    read = [(tmp_path / place / "README.md").read_text(encoding="utf-8") for place in ("tree", "plain/tree")]
    kinds = [[t.type for b in reader.parse(ModelCard(text).text) for t in (b, *(b.children or ()))] for text in read]
    texts = [[kind for kind in found if kind not in ("text", "text_special")] for found in kinds]
    assert texts[0] == texts[1]
    shown = "".join(
        t.content for b in reader.parse(ModelCard(read[0]).text) for t in b.children or () if t.type.startswith("text")
    )
    for part in (
        "<img src=x onerror=alert(1)>|**b**\\n",
        "[l](http://e.vil)",
        "`c` $m$ &amp;",
        "\\x1b[31m\\u202e\\ud800",
    ):
        assert shown.count(part) >= 3, part  # a title, the scheduler, the device
    for raw in ("<img", "<script", "\x1b", "\u202e", "[l](", "\n# h", "https://e", "www.e"):
        assert raw not in read[0]
    assert ModelCard(read[0]).data.to_dict().keys() == ModelCard(read[1]).data.to_dict().keys()


@pytest.mark.parametrize(
    "file, keys, value",
    [
        ("evaluation/report.json", ("sets",), []),
        ("evaluation/report.json", ("sets", "mine"), None),
        ("evaluation/report.json", ("sets", "mine", "n"), "many"),
        ("evaluation/report.json", ("sets", "mine", "n"), True),
        ("evaluation/report.json", ("sets", "mine", "mean", "accuracy"), "high"),
        ("evaluation/report.json", ("sets", "mine", "mean"), [1]),
        ("evaluation/report.json", ("sets", "mine", "spread", "accuracy"), {}),
        ("evaluation/report.json", ("settings", "steps"), "ten"),
        ("evaluation/report.json", ("settings", "guidance_scale"), 10**400),
        ("evaluation/report.json", ("settings", "seeds"), 0),
        ("evaluation/report.json", ("dataset",), ["mnist"]),
        ("run.json", ("sessions",), {}),
        ("run.json", ("sessions",), [7]),
        ("run.json", ("sessions",), [{"device": "cpu"}]),
        ("model_index.json", ("default_guidance_scale",), "high"),
        ("denoiser/config.json", ("sample_size",), "28"),
        ("denoiser/config.json", ("num_classes",), [10]),
    ],
)
def test_a_value_of_another_type_is_named(model, tmp_path, capsys, file, keys, value):
    """By file, key, what it is and what it should be; TypeError and KeyError name none of these."""
    source = shutil.copytree(model, tmp_path / "mine")
    content = json.loads((source / file).read_text()) if (source / file).is_file() else {"sessions": []}
    place = content
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    (source / file).write_text(json.dumps(content))
    for command in (["info", str(source)], ["push", "--model", str(source), "--repo", "ada/x", "--dry-run"]):
        assert cli.main(command) == 2
        said = capsys.readouterr().err
        assert file.removesuffix("/config.json") in said and keys[-1] in said and "got " in said and "expected" in said


@pytest.mark.parametrize("settings", [7, None, [], {"real": True}, {"samples": "x.npz"}])
def test_a_report_of_something_else_is_not_told(model, tmp_path, capsys, settings):
    source = shutil.copytree(model, tmp_path / "mine")
    report = json.loads((source / "evaluation" / "report.json").read_text())
    (source / "evaluation" / "report.json").write_text(json.dumps({**report, "settings": settings}))
    assert cli.main(["info", str(source)]) == 0 and "not measured" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", "[1, 2", "[]", "7", "[" * 100_000, "\xff"])
@pytest.mark.parametrize("file", ["evaluation/report.json", "run.json"])
def test_a_file_that_is_no_object_is_named(model, tmp_path, capsys, file, content):
    source = shutil.copytree(model, tmp_path / "mine")
    (source / file).write_bytes(content.encode("latin-1"))
    assert cli.main(["info", str(source)]) == 2
    assert f"{source / file}: " in capsys.readouterr().err


# --- info ------------------------------------------------------------------------------------------------------------


def test_info_tells_what_a_model_is(model, built, capsys):
    for folder in (model, built.folder):  # with our classes by their modules, and by the files for others
        assert cli.main(["info", str(folder)]) == 0
        text = capsys.readouterr().out
        count = sum(p.numel() for p in DigitPipeline.from_pretrained(folder).denoiser.parameters())
        for part in ("ClassConditionedDigitPipeline", "text2digit.DigitUNet2DModel", f"{count:,} weights", "F32"):
            assert part in text
        for part in (
            "sample_size=28",
            "7: seven",
            "num_inference_steps=10",
            "final loss 0.2345",
            "1.2346",
            "87.50%",
        ):
            assert part in text


def test_info_of_what_ships(capsys):
    for name in ("unet-mnist", "dit-mnist"):
        report = json.loads((SHIPPED_FOLDER / name / "evaluation" / "report.json").read_text(encoding="utf-8"))
        assert cli.main(["info", name]) == 0
        measured = f"accuracy of the asked class: {report['sets'][name]['mean']['accuracy']:.2%}"
        assert measured in capsys.readouterr().out


def test_info_reads_headers_alone(tmp_path):
    """What stands after the header of the weights does not matter; but a file that is cut off there is refused."""
    source = save_model(tmp_path / "mine")
    path = source / "denoiser" / "diffusion_pytorch_model.safetensors"
    whole = read_facts(source).denoiser.parameters
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    path.write_bytes(content[:end] + b"\xff" * (len(content) - end))
    started = time.perf_counter()
    assert read_facts(source).denoiser.parameters == whole > 0
    assert time.perf_counter() - started < 1
    path.write_bytes(content[:end])
    with pytest.raises(ValueError, match=r"diffusion_pytorch_model.safetensors: is no safetensors file, or damaged"):
        read_facts(source)


def test_info_shows_control_characters_as_escapes(model, tmp_path, capsys):
    """Class names come from a file of others; ESC would colour, move or retitle the reader's terminal."""
    source = shutil.copytree(model, tmp_path / "mine")
    index = json.loads((source / "model_index.json").read_text())
    index["id2label"]["7"] = "se\x1b]0;title\x07ven\r\n\u202egnp.exe"
    (source / "model_index.json").write_text(json.dumps(index))
    assert cli.main(["info", str(source)]) == 0
    said = capsys.readouterr().out
    assert "7: se\\x1b]0;title\\x07ven\\r\\n\\u202egnp.exe" in said
    assert said.replace("\n", "").isprintable()


def test_info_says_what_is_missing(tmp_path, capsys):
    assert cli.main(["info", str(save_model(tmp_path / "mine"))]) == 0
    text = capsys.readouterr().out
    assert "not recorded" in text and "not measured" in text
    assert cli.main(["info", "nothing-here"]) == 2
    assert "no such folder and no such shipped weights" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, (50).to_bytes(8, "little") + b"{" * 50])
def test_a_file_that_is_no_safetensors_is_said_to_be(content, tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is no safetensors file"):
        safetensors_header(path)


def test_the_shipped_configs_say_how_they_were_trained():
    """Catches weights of other images than the recipe names, and settings of the machine that trained them."""
    for name, recipe in (("unet-mnist", "unet-mnist"), ("dit-mnist", "dit-mnist"), ("text-mnist", "text")):
        shipped, written = (
            dataclasses.asdict(load_config(path)) for path in (SHIPPED_FOLDER / name / "config.yaml", recipe)
        )
        for config in (shipped, written):  # what no weight depends on: a run writes its precision out
            for key in ("mixed_precision", "checkpointing_steps", "preview_steps"):
                del config["training"][key]
        assert shipped == written


def test_figures_of_another_scheduler_are_not_shown(tmp_path):
    """Catches figures that were measured with one sampler and are shown for another, whose images differ."""
    folder = add_run(save_model(tmp_path / "mine"))
    assert read_report(folder) is not None
    path = folder / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "_diffusers_version": "9"}), encoding="utf-8")
    assert read_report(folder) is not None  # who wrote it does not count
    path.write_text(json.dumps({**config, "timestep_spacing": "linspace"}), encoding="utf-8")
    assert read_report(folder) is None
