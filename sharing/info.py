"""What a model is: `text2digit info unet-mnist`, a folder, or user/name on the Hub."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from text2digit.pipelines.loading import find_pipeline_folder
from text2digit.sharing.text import printable
from text2digit.shell import Parser, Result, command

if TYPE_CHECKING:
    from text2digit.sharing.facts import Component, Facts

# Sizes that are told first, where a model has them; all else follows by its own name.
MOST_SHOWN = 3


def describe(name: str, facts: "Facts") -> str:
    """Facts for a reader at a terminal."""
    lines = [name, f"  {'pipeline':<16}{facts.class_name}"]
    for part, component in facts.components.items():
        lines.append(f"  {part:<16}{_class_of(component)}")
        lines += [f"  {'':<16}{line}" for line in _sizes(component)]
    lines += _section("classes", _classes(facts))
    lines += _section("defaults", _defaults(facts))
    lines += _section("training", _training(facts))
    lines += _section("figures", _figures(facts))
    return "\n".join(printable(line) for line in lines)


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"  {title if i == 0 else '':<16}{line}" for i, line in enumerate(lines)]


def _class_of(component: "Component") -> str:
    library = component.module.split(".")[0]
    weights = f", {component.parameters:,} weights, {_megabytes(component.size)}" if component.parameters else ""
    return f"{library}.{component.class_name}{weights}{', ' + ' '.join(component.dtypes) if component.dtypes else ''}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _sizes(component: "Component") -> list[str]:
    """The configuration, a few values a line; what is switched off or left open is not told."""
    shown = [f"{name}={value}" for name, value in component.config.items() if value not in (None, False)]
    return [", ".join(shown[i : i + MOST_SHOWN]) for i in range(0, len(shown), MOST_SHOWN)]


def _classes(facts: "Facts") -> list[str]:
    count = facts.denoiser.config.get("num_classes")
    names = facts.settings.get("id2label") or {}
    told = "; ".join(f"{i}: {name}" for i, name in names.items())
    return [f"{count}" + (f" ({told})" if told else "")] if count else ["none"]


def _defaults(facts: "Facts") -> list[str]:
    found = {name: value for name, value in facts.settings.items() if name.startswith("default_")}
    return [f"{name.removeprefix('default_')}={value}" for name, value in found.items()]


def _training(facts: "Facts") -> list[str]:
    if facts.run is None:
        return ["not recorded"]
    run, training = facts.run, facts.run.training
    lines = [f"{run.data.dataset}, {run.model.type}, batches of {training.batch_size}, seed {training.seed}"]
    step, loss = facts.last("step"), facts.last("loss")
    if step is not None:
        lines.append(f"{step:,} steps" + (f", final loss {loss:.4f}" if loss is not None else ""))
    if (held_out := facts.last("validation_loss")) is not None:
        lines.append(f"held-out loss {held_out:.4f}")
    return lines


def _figures(facts: "Facts") -> list[str]:
    if facts.report is None:
        return ["not measured"]
    from text2digit.evaluation.report import FIGURES, when_guided

    settings, (entry, *_) = facts.report["settings"], facts.report["sets"].values()
    when = when_guided(settings.get("guidance_interval"))
    told = [f"n = {entry['n']:,}, steps {settings['steps']}, guidance {settings['guidance_scale']}{when}"]
    shown = {key: value for key, value in entry["mean"].items() if key in FIGURES}
    return told + [f"{FIGURES[key][0]}: {FIGURES[key][2].format(value)}" for key, value in shown.items()]


def tell(arguments: argparse.Namespace) -> Result:
    """Read the facts of a model."""
    from text2digit.models.saved import as_value_error
    from text2digit.sharing.facts import read_facts

    folder = find_pipeline_folder(arguments.model, {"revision": arguments.revision})
    with as_value_error(folder):
        facts = read_facts(folder)
        return Result(describe(arguments.model, facts), {"model": arguments.model, **asdict(facts)})


def flags(parser: Parser) -> None:
    """Of the command."""
    parser.add_argument("model", help="a folder, shipped weights, or user/name on the Hub")
    parser.add_argument("--revision", help="of the Hub: a branch, a tag or a commit (main)")


main = command("text2digit info", __doc__, flags, tell, has_json=True)
