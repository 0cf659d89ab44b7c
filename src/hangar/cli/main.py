"""The command ``hangar``: its table of commands, and the start and end of each run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

import click

from hangar.cli.groups import ROOT, Entry, LazyGroup
from hangar.cli.outcome import OutputClosedError, conclude
from hangar.cli.settings import settings_of
from hangar.cli.state import State

__all__ = ["main"]

SECTIONS: Final = {
    "Start": {
        "init": Entry("hangar.cli.init", "Create a repository."),
        "clone": Entry("hangar.cli.clone", "Create a repository with the history of another one."),
        "config": Entry("hangar.cli.config", "Show or set configuration."),
        "demo": Entry("hangar.cli.demo", "Demonstrate Hangar on real images."),
    },
    "Change data": {
        "column": Entry("hangar.cli.column", "Create, remove, rename and list columns."),
        "import": Entry("hangar.cli.import_files", "Import files into a column."),
        "set": Entry("hangar.cli.set_value", "Set one sample to a value."),
        "rm": Entry("hangar.cli.rm", "Remove samples."),
        "restore": Entry("hangar.cli.restore", "Restore samples or columns from a commit."),
        "split": Entry("hangar.cli.split", "Split samples into train, val and test parts."),
    },
    "Inspect": {
        "status": Entry("hangar.cli.status", "Show the staged changes."),
        "diff": Entry("hangar.cli.diff", "Show what changed between commits, or what is staged."),
        "ls": Entry("hangar.cli.ls", "List columns, or the samples of one."),
        "show": Entry("hangar.cli.show", "Show a commit, a column or a sample."),
        "summary": Entry("hangar.cli.summary", "Summarize a commit, and show the size on disk."),
        "view": Entry("hangar.cli.view", "Look at a sample: a picture, a waveform, a table."),
        "export": Entry("hangar.cli.export", "Export samples to files."),
    },
    "History": {
        "commit": Entry("hangar.cli.commit", "Commit the staged changes."),
        "log": Entry("hangar.cli.log", "Show the history of commits."),
        "branch": Entry("hangar.cli.branch", "List, create, rename, delete and restore branches."),
        "checkout": Entry("hangar.cli.checkout", "Switch the current branch."),
        "merge": Entry("hangar.cli.merge", "Merge a branch or another revision."),
        "conflicts": Entry("hangar.cli.conflicts", "List the conflicts of a merge."),
        "resolve": Entry("hangar.cli.resolve", "Resolve conflicts of a merge."),
        "tag": Entry("hangar.cli.tag", "Name commits, and list these names."),
        "reset": Entry("hangar.cli.reset", "Move the current branch to another commit."),
        "blame": Entry("hangar.cli.blame", "Show which commit last changed a sample."),
        "bisect": Entry("hangar.cli.bisect", "Find the commit that turned good into bad."),
        "revert": Entry("hangar.cli.revert", "Undo a commit with a new one."),
        "cherry-pick": Entry("hangar.cli.cherry_pick", "Apply the changes of a commit to the current branch."),
        "stash": Entry("hangar.cli.stash", "Put staged changes aside, and bring them back."),
        "reflog": Entry("hangar.cli.reflog", "Show where a branch was."),
    },
    "Remotes": {
        "remote": Entry("hangar.cli.remote", "Add, list and remove remotes."),
        "fetch": Entry("hangar.cli.fetch", "Fetch history from a remote."),
        "fetch-data": Entry("hangar.cli.fetch_data", "Fetch the data of samples from a remote."),
        "pull": Entry("hangar.cli.pull", "Fetch a branch and merge it."),
        "push": Entry("hangar.cli.push", "Push branches and tags with their data."),
        "evict": Entry("hangar.cli.evict", "Drop data from this disk that a remote has."),
        "bundle": Entry("hangar.cli.bundle", "Write history and data into one file, and look into one."),
        "server": Entry("hangar.cli.server", "Serve the repository to other machines."),
    },
    "Maintenance": {
        "gc": Entry("hangar.cli.gc", "Free disk space."),
        "fsck": Entry("hangar.cli.fsck", "Verify the repository."),
        "purge": Entry("hangar.cli.purge", "Erase the data of samples for good."),
        "writer-lock": Entry("hangar.cli.writer_lock", "Show the holder of the writer lock, or release it."),
        "completion": Entry("hangar.cli.completion", "Print the completion script of a shell."),
        "help": Entry("hangar.cli.help", "Show the help of a command."),
    },
}
HINTS: Final = {
    "add": "Import files with `hangar import COLUMN PATH`.",
    "switch": "Switch the branch with `hangar checkout BRANCH`.",
    "unstage": "Drop staged changes with `hangar restore COLUMN`, or all of them with `hangar restore .`.",
    "remove": "Remove samples with `hangar rm COLUMN SAMPLE`, and columns with `hangar column remove COLUMN`.",
    "delete": "Remove samples with `hangar rm COLUMN SAMPLE`, and columns with `hangar column remove COLUMN`.",
    "list": "List columns and samples with `hangar ls`.",
    "verify": "Verify a repository with `hangar fsck --data`.",
    "unlock": "Release the writer lock with `hangar writer-lock --force-release`.",
    "history": "List commits with `hangar log`.",
    "rebase": "There is no rebase: merge the other branch with `hangar merge REV`.",
    "mv": "Rename a column with `hangar column rename OLD NEW`.",
    "rename": "Rename a column with `hangar column rename OLD NEW`.",
    "clean": "Drop staged changes with `hangar restore .`, and free disk space with `hangar gc`.",
    "prune": "Free disk space with `hangar gc`.",
    "annotate": "Show which commit last changed a sample with `hangar blame COLUMN SAMPLE`.",
    "undo": "Undo a commit with `hangar revert REV`, or move the branch back with `hangar reset REV`.",
    "rev-parse": "Show a commit and its digest with `hangar show REV`.",
    "shortlog": "List commits with `hangar log --oneline`.",
    "version": "Show the version with `hangar --version`.",
}


class HangarGroup(LazyGroup):
    """The top-level group. Errors become a line on stderr and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise OutputClosedError from error
        except (click.exceptions.Exit, click.Abort, click.UsageError):
            raise  # a mistake in typing is no bug to report
        except BaseException:
            if settings_of(ctx).verbose:
                import traceback

                traceback.print_exc()
            raise

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line; see click. In standalone mode it ends with ``sys.exit`` and the exit code."""

        def run() -> Any:
            call = super(HangarGroup, self).main
            return call(args, prog_name or "hangar", complete_var, standalone_mode=False, **extra)

        if not standalone_mode:
            return run()
        sys.exit(conclude(run))


@click.group(
    ROOT,
    cls=HangarGroup,
    sections=SECTIONS,
    hints=HINTS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.pass_context
def main(ctx: click.Context) -> None:
    """Version control for tensors: commits, branches and checkouts for columns of arrays, text and bytes.

    A repository is a directory with a .hangar folder in it. Commands use the repository of the current directory, or of
    the nearest parent directory that has one.

    To start:
      hangar init
      hangar column create images UINT8 28 28
      hangar import images path/to/folder
      hangar commit -m "The first images"

    A revision (REV) is a branch, a tag, or a digest or its first characters. Suffixes name ancestors (master~2, v1^) and
    earlier states of a branch (master@{1}).

    On a terminal long output goes through a pager: $HANGAR_PAGER, $PAGER or less -FRX. The options below may also be
    given after the command.
    """
    settings = settings_of(ctx)
    ctx.color = settings.click_colour()
    for stream in (sys.stdout, sys.stderr):
        # Print characters that the terminal cannot encode as escapes, instead of failing.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    ctx.obj = State(settings)
    ctx.call_on_close(ctx.obj.close)


def _version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from hangar.cli.version import lines

    for line in lines():
        click.echo(line)
    ctx.exit()


main.params.append(
    click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_version,
        help="Show the versions of Hangar and of its libraries.",
    )
)
