"""Train a denoiser: `accelerate launch train_text2digit.py --config configs/unet.yaml`, or `text2digit train …`.

Every field of the config can be set as section.key=value after the flags.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from text2digit.config import OPTIONS, RunConfig, load_config, run_folder
from text2digit.runtime import describe_device, process_index, say
from text2digit.shell import Ended, Parser, Result, as_json, guard, output, set_up

if TYPE_CHECKING:
    from text2digit.sharing.upload import Target


def parse_arguments(argv: Sequence[str] | None) -> tuple[RunConfig, argparse.Namespace]:
    """The config that a command line asks for, and the flags that are no fields: `dry_run` and those of the Hub."""
    parser = Parser("text2digit train", __doc__, has_json=True)
    parser.epilog = (
        "A default is used where neither the recipe nor the command line gives a value. All options: "
        "configs/README.md, or python -m text2digit.config."
    )
    add = parser.add_argument
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--config", help="a recipe: a YAML file, or the name of one that ships (unet, dit, text)")
    which.add_argument("--preset", metavar="NAME", help="a recipe that ships, such as five-minutes")
    flagged = [option for option in OPTIONS.values() if option.flag]
    for option in flagged:
        add(*option.spellings, dest=option.key, metavar=option.metavar, help=option.help_line)
    add("--dry-run", action="store_true", help="print the plan and stop")
    add("--push-to-hub", action="store_true", help="share the pipeline on the Hub in the end")
    add("--hub-model-id", metavar="USER/NAME", help="where; without it, the name of the run's folder")
    add("--hub-private-repo", action="store_true", default=None, help="make it private")
    add("overrides", nargs="*", metavar="section.key=value", help="any option of the config")
    arguments = parser.parse_intermixed_args(argv)

    given = {option.key: getattr(arguments, option.key) for option in flagged}
    flags = [f"{key}={value}" for key, value in given.items() if value is not None]
    own = "dit" if given["model.type"] == "DiT" else "unet"
    recipe = next(each for each in (arguments.preset, arguments.config, own) if each is not None)
    try:
        config = load_config(recipe, [*flags, *arguments.overrides])
        if process_index() == 0:  # the one that writes
            output(is_folder=True)(str(run_folder(config)))
    except argparse.ArgumentTypeError as error:
        parser.error(f"--output-dir: {error}")
    except (ValueError, OSError) as error:
        parser.error(str(error))
    if arguments.hub_model_id and not arguments.push_to_hub:
        parser.error("--hub-model-id: got a name without --push-to-hub, which would do nothing; give both or none.")
    return config, arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""

    def command() -> Result | None:
        config, arguments = parse_arguments(argv)
        result = _run(config, arguments)
        return as_json(result) if result and arguments.json else result

    return guard(command)


def _run(config: RunConfig, arguments: argparse.Namespace) -> Result | None:
    set_up()
    from text2digit.data import describe_data
    from text2digit.training import InterruptedRun, plan, prepare_run, train
    from text2digit.training.planning import describe_plan

    started = time.perf_counter()
    if arguments.dry_run:
        facts = plan(config)
        return Result(describe_plan(facts), facts)
    target = _check_hub(config, arguments)  # before hours of training
    try:
        run = prepare_run(config)
        say(f"device: {describe_device(run.accelerator.device)}, processes: {run.accelerator.num_processes}")
        say(f"data:   {describe_data(config.data.dataset, run.data)}")
        say(f"run:    {run.folder}, step {run.step:,} of {run.total_steps:,}")
        folder = train(run)
    except InterruptedRun as stop:
        again = "" if config.training.resume in ("auto", "extend") else " with --resume auto"
        raise Ended(f"stopped by {stop} The same command{again} goes on from there.", 128 + stop.signum) from stop
    say(f"saved:  {folder} after {(time.perf_counter() - started) / 60:.1f} minutes")
    say(f"draw:   text2digit sample --model {shlex.quote(str(folder))} -o digits.png")
    facts = {"folder": str(folder), "steps": run.total_steps}
    if target is not None and process_index() == 0:
        facts["url"] = _push(folder, target)
        say(f"pushed: {facts['url']}")
    return Result(str(folder), facts)


def _check_hub(config: RunConfig, arguments: argparse.Namespace) -> "Target | None":
    """Where to push in the end, if the Hub says that it can be done; every process asks, so that all stop or none."""
    if not arguments.push_to_hub:
        return None
    from text2digit.sharing.upload import Target, check_target

    name = arguments.hub_model_id or run_folder(config).name
    return check_target(Target(name, private=arguments.hub_private_repo))


def _push(folder: Path, target: "Target") -> str:
    """Share what was trained; if that fails, the training is not lost, and the message says how to push again."""
    from text2digit.sharing.upload import push_folder

    try:
        return push_folder(folder, target).url
    except (ValueError, OSError) as error:
        again = f"text2digit push --model {shlex.quote(str(folder))} --repo {target.repo_id}"
        raise Ended(f"error: {error}\nagain:  {again}") from error


if __name__ == "__main__":
    sys.exit(main())
