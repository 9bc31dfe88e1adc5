"""`text2digit VERB …`: hands the rest of the command line to the verb's module."""

import sys
from collections.abc import Sequence
from importlib import import_module

from text2digit.shell import Result, guard

# Each module has a main(argv) that returns the exit status; it is imported only when its verb is called.
VERBS = {
    "train": ("text2digit.train_text2digit", "train a denoiser"),
    "ema": ("text2digit.training.average", "average a run's weights over another length"),
    "sample": ("text2digit.sample_text2digit", "draw digits"),
    "info": ("text2digit.sharing.info", "tell what a model is"),
    "push": ("text2digit.push_to_hub", "share a pipeline on the Hub"),
    "evaluate": ("text2digit.evaluation.evaluate", "measure a model, drawn digits, or real ones"),
    "play": ("text2digit.gui.play", "see it work in the browser"),
    "space": ("text2digit.gui.space", "write the app as a Hugging Face Space"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit status."""
    return guard(lambda: run_verb(*(sys.argv[1:] if argv is None else argv)))


def run_verb(verb: str = "--help", *arguments: str) -> Result:
    """Run a verb, whose own `main` says all and returns the exit status; or tell of them all."""
    if verb in VERBS:
        sys.exit(import_module(VERBS[verb][0]).main(arguments))
    usage = "usage: text2digit VERB …\n\n" + "\n".join(f"  {name:<8} {about}" for name, (_, about) in VERBS.items())
    if verb not in ("-h", "--help"):
        raise ValueError(f"got the verb {verb!r}, expected one of {', '.join(VERBS)}; text2digit --help tells more.")
    return Result(f"{usage}\n\ntext2digit VERB --help tells more.")


if __name__ == "__main__":
    sys.exit(main())
