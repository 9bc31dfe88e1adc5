"""Share a pipeline: `text2digit push --model runs/mine --repo user/name`, or `--dry-run --out DIR` to only look.

The token is HF_TOKEN, or what `hf auth login` stored.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from text2digit.pipelines.loading import find_pipeline_folder
from text2digit.shell import Parser, Result, command, output

if TYPE_CHECKING:
    from text2digit.sharing.tree import Entry


def flags(parser: Parser) -> None:
    """Of the command."""
    add = parser.add_argument
    add("--model", required=True, help="a folder, such as a run's, or shipped weights; MODEL/evaluation comes along")
    add("--repo", required=True, metavar="USER/NAME", help="a repository on the Hub, made if it does not exist")
    add("--private", action="store_true", default=None, help="make it private, where it is made")
    add("--revision", help="a branch, made if it does not exist (main)")
    add("--create-pr", action="store_true", help="propose the files in a pull request")
    add("--message", help="of the commit")
    add("--dry-run", action="store_true", help="write the tree, load it back, and send nothing")
    add("--out", type=output(is_folder=True, is_empty=True), metavar="DIR",
        help="where to write the tree; needs to be empty (a temporary folder)")  # fmt: skip


def describe(entries: Sequence["Entry"]) -> str:
    """A line per file, and their sum."""
    lines = [f"{entry.size:>12,}  {entry.sha256[:12]}  {entry.name}" for entry in entries]
    return "\n".join([*lines, f"{sum(entry.size for entry in entries):>12,}  bytes in {len(entries)} files"])


def push(arguments: argparse.Namespace) -> Result:
    """Build the tree, load it back, and send it."""
    source = find_pipeline_folder(arguments.model)
    from text2digit.sharing import tree as trees
    from text2digit.sharing.files import pipeline_files
    from text2digit.sharing.upload import Target, check_repo_id, check_target, push_tree

    target = Target(arguments.repo, arguments.revision, arguments.private, arguments.create_pr)
    check_repo_id(target.repo_id)
    if not arguments.dry_run:
        target = check_target(target)  # before any work
    with tempfile.TemporaryDirectory() as temporary:
        tree = arguments.out or Path(temporary) / "tree"
        entries = trees.build_tree(source, tree, target.repo_id)
        loaded = trees.load_tree_back(tree)
        lines = [
            describe(entries),
            pipeline_files(source).left_at_home(),
            f"loads with the package:     {loaded['with_package']['pipeline']}",
            f"loads without the package:  {loaded['without_package']['pipeline']}; the images are the same",
        ]
        if arguments.dry_run:
            lines.append(f"nothing was sent; the tree is {arguments.out}" if arguments.out else "nothing was sent")
        elif (pushed := push_tree(tree, entries, target, arguments.message)).num_files:
            lines.append(f"pushed: {pushed.url}")
            lines.append(f"{pushed.num_files} files were fetched again and are the same, commit {pushed.commit}")
        else:
            lines.append(f"nothing to send: {pushed.url} holds these files already")
    return Result("\n".join(lines))


main = command("text2digit push", __doc__, flags, push)

if __name__ == "__main__":
    sys.exit(main())
