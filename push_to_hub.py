"""Share a pipeline: `text2digit push --model runs/mine --repo user/name`, or `--dry-run --out DIR` to only look.

The token is HF_TOKEN, or what `hf auth login` stored.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from text2digit.pipelines.loading import find_pipeline_folder
from text2digit.sharing.files import pipeline_files
from text2digit.sharing.tree import Entry, build_tree, load_tree_back
from text2digit.sharing.upload import Target, check_repo_id, check_target, push_tree


def make_parser() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(
        prog="text2digit push", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", required=True, help="a folder, such as a run's, or shipped weights; MODEL/evaluation comes along")
    add("--repo", required=True, metavar="USER/NAME", help="a repository on the Hub, made if it does not exist")
    add("--private", action="store_true", default=None, help="make it private, where it is made")
    add("--revision", help="a branch, made if it does not exist (main)")
    add("--create-pr", "--create_pr", action="store_true", help="propose the files in a pull request")
    add("--message", help="of the commit")
    add("--dry-run", "--dry_run", action="store_true", help="write the tree, load it back, and send nothing")
    add("--out", type=Path, metavar="DIR", help="where to write the tree; needs to be empty (a temporary folder)")
    return parser


def describe(entries: Sequence[Entry]) -> str:
    """A line per file, and their sum."""
    lines = [f"{entry.size:>12,}  {entry.sha256[:12]}  {entry.name}" for entry in entries]
    return "\n".join([*lines, f"{sum(entry.size for entry in entries):>12,}  bytes in {len(entries)} files"])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    arguments = make_parser().parse_args(argv)
    target = Target(arguments.repo, arguments.revision, arguments.private, arguments.create_pr)
    try:
        check_repo_id(target.repo_id)
        source = find_pipeline_folder(arguments.model, {})
        if not arguments.dry_run:
            target = check_target(target)  # before any work
        with tempfile.TemporaryDirectory() as temporary:
            tree = arguments.out or Path(temporary) / "tree"
            entries = build_tree(source, tree, target.repo_id)
            print(describe(entries))
            print(pipeline_files(source).left_at_home())
            loaded = load_tree_back(tree)
            print(f"loads with the package:     {loaded['with_package']['pipeline']}")
            print(f"loads without the package:  {loaded['without_package']['pipeline']}; the images are the same")
            if arguments.dry_run:
                print(f"nothing was sent; the tree is {arguments.out}" if arguments.out else "nothing was sent")
                return 0
            pushed = push_tree(tree, entries, target, arguments.message)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "exit_status", 2 if isinstance(error, ValueError | FileNotFoundError) else 1)
    if pushed.num_files == 0:
        print(f"nothing to send: {pushed.url} holds these files already")
        return 0
    print(f"pushed: {pushed.url}\n{pushed.num_files} files were fetched again and are the same, commit {pushed.commit}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
