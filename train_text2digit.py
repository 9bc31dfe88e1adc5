"""Train a denoiser: `accelerate launch train_text2digit.py --config configs/unet.yaml`, or `text2digit train …`.

Every field of the config can be set as section.key=value after the flags.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from text2digit.config import OPTIONS, RunConfig, load_config, run_folder
from text2digit.runtime import describe_device, keep_freed_memory, process_index, start_missing_processes, use_all_cores

if TYPE_CHECKING:
    from text2digit.sharing.upload import Target


def parse_arguments(argv: Sequence[str] | None) -> tuple[RunConfig, argparse.Namespace]:
    """The config that a command line asks for, and the flags that are no fields: `dry_run` and those of the Hub."""
    parser = argparse.ArgumentParser(
        prog="text2digit train",
        description=__doc__,
        epilog="A default is used where neither the recipe nor the command line gives a value. All options: "
        "configs/README.md, or python -m text2digit.config.",
    )
    add = parser.add_argument
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--config", help="a recipe: a YAML file, or the name of one that ships (unet, dit, text)")
    which.add_argument("--preset", metavar="NAME", help="a recipe that ships, such as five-minutes")
    flagged = [option for option in OPTIONS.values() if option.flag]
    for option in flagged:
        add(*option.spellings, dest=option.key, metavar=option.metavar, help=option.help_line)
    add("--dry-run", "--dry_run", action="store_true", help="print the plan and stop")
    add("--push-to-hub", "--push_to_hub", action="store_true", help="share the pipeline on the Hub in the end")
    add("--hub-model-id", "--hub_model_id", metavar="USER/NAME", help="where; without it, the name of the run's folder")
    add("--hub-private-repo", "--hub_private_repo", action="store_true", default=None, help="make it private")
    add("overrides", nargs="*", metavar="section.key=value", help="any option of the config")
    arguments = parser.parse_intermixed_args(argv)

    given = {option.key: getattr(arguments, option.key) for option in flagged}
    flags = [f"{key}={value}" for key, value in given.items() if value is not None]
    own = "dit" if given["model.type"] == "DiT" else "unet"
    recipe = next(each for each in (arguments.preset, arguments.config, own) if each is not None)
    try:
        config = load_config(recipe, [*flags, *arguments.overrides])
    except (ValueError, OSError) as error:
        parser.error(str(error))
    if arguments.hub_model_id and not arguments.push_to_hub:
        parser.error("--hub-model-id: got a name without --push-to-hub, which would do nothing; give both or none.")
    return config, arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    start_missing_processes()
    config, arguments = parse_arguments(argv)
    keep_freed_memory()  # before the first tensor
    use_all_cores()
    from text2digit.training import InterruptedRun, NonFiniteError, plan, prepare_run, train

    started = time.perf_counter()
    try:
        if arguments.dry_run:
            _say(plan(config))
            return 0
        target = _check_hub(config, arguments)  # before hours of training
        run = prepare_run(config)
        _say(f"device: {describe_device(run.accelerator.device)}, processes: {run.accelerator.num_processes}")
        _say(f"run:    {run.folder}, step {run.step:,} of {run.total_steps:,}")
        folder = train(run)
    except InterruptedRun as interruption:
        again = "" if config.training.resume in ("auto", "extend") else " with --resume auto"
        _say(f"stopped by {interruption} The same command{again} goes on from there.")
        return 128 + interruption.signum
    except (ValueError, OSError, NonFiniteError) as error:
        _say(f"error: {error}", file=sys.stderr)
        return getattr(error, "exit_status", 1 if isinstance(error, NonFiniteError) else 2)  # PushError has its own
    _say(f"saved:  {folder} after {(time.perf_counter() - started) / 60:.1f} minutes")
    _say(f"draw:   text2digit sample --model {folder} -o digits.png")
    return _push(folder, target) if target is not None and process_index() == 0 else 0


def _check_hub(config: RunConfig, arguments: argparse.Namespace) -> "Target | None":
    """Where to push in the end, if the Hub says that it can be done; every process asks, so that all stop or none."""
    if not arguments.push_to_hub:
        return None
    from text2digit.sharing.upload import Target, check_target

    name = arguments.hub_model_id or run_folder(config).name
    return check_target(Target(name, private=arguments.hub_private_repo))


def _push(folder: Path, target: "Target") -> int:
    """Share what was trained; if that fails, the training is not lost, and the exit status is 1."""
    from text2digit.sharing.upload import push_folder

    try:
        pushed = push_folder(folder, target)
    except (ValueError, OSError) as error:
        _say(f"error: {error}", file=sys.stderr)
        _say(f"again:  text2digit push --model {folder} --repo {target.repo_id}", file=sys.stderr)
        return 1
    _say(f"pushed: {pushed.url}")
    return 0


def _say(text: str, file: TextIO | None = None) -> None:
    """One of several processes speaks."""
    if process_index() == 0:
        print(text, file=file, flush=True)


if __name__ == "__main__":
    sys.exit(main())
