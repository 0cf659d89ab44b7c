"""The command ``hangar``: the table of its commands, and how each run begins and ends."""

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
    "Begin": {
        "init": Entry("hangar.cli.init", "Make a repository here."),
        "config": Entry("hangar.cli.config", "Show or set who commits."),
        "demo": Entry("hangar.cli.demo", "See it all at work on real images."),
    },
    "Fill": {
        "column": Entry("hangar.cli.column", "Create, remove and list columns."),
        "import": Entry("hangar.cli.import_files", "Bring files into a column."),
        "rm": Entry("hangar.cli.rm", "Remove samples."),
        "restore": Entry("hangar.cli.restore", "Bring samples back as a commit has them."),
    },
    "Look": {
        "status": Entry("hangar.cli.status", "Show what is staged."),
        "ls": Entry("hangar.cli.ls", "List columns, or the samples of one."),
        "show": Entry("hangar.cli.show", "Show a commit, a column or a sample."),
        "summary": Entry("hangar.cli.summary", "Show what a commit holds, and its size on disk."),
        "export": Entry("hangar.cli.export", "Write samples into files."),
    },
    "History": {
        "commit": Entry("hangar.cli.commit", "Make the staged changes a commit."),
        "log": Entry("hangar.cli.log", "Show the commits that led here."),
        "branch": Entry("hangar.cli.branch", "List, create and delete branches."),
        "checkout": Entry("hangar.cli.checkout", "Choose the branch to write."),
    },
    "Care": {
        "fsck": Entry("hangar.cli.fsck", "Check that everything is there and whole."),
        "writer-lock": Entry("hangar.cli.writer_lock", "Show who writes, or free the lock."),
        "completion": Entry("hangar.cli.completion", "Print the completion script of a shell."),
        "help": Entry("hangar.cli.help", "Show the help of a command."),
    },
}
HINTS: Final = {
    "add": "Files are brought in by `hangar import COLUMN PATH`.",
    "switch": "The branch to write is chosen by `hangar checkout BRANCH`.",
    "diff": "Staged changes are listed by `hangar ls --changed`.",
    "reset": "Staged changes are dropped by `hangar restore COLUMN`, all of them by `hangar restore .`.",
    "unstage": "Staged changes are dropped by `hangar restore COLUMN`, all of them by `hangar restore .`.",
    "remove": "Samples are removed by `hangar rm COLUMN SAMPLE`, columns by `hangar column remove COLUMN`.",
    "delete": "Samples are removed by `hangar rm COLUMN SAMPLE`, columns by `hangar column remove COLUMN`.",
    "list": "Columns and samples are listed by `hangar ls`.",
    "verify": "A repository is checked by `hangar fsck --data`.",
    "unlock": "The writer lock is freed by `hangar writer-lock --force-release`.",
    "history": "Commits are listed by `hangar log`.",
    "version": "The version is shown by `hangar --version`.",
}


class HangarGroup(LazyGroup):
    """The group itself: errors become a line on stderr and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise OutputClosedError from error
        except (click.exceptions.Exit, click.Abort):
            raise
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
        """Run the command line; see click. On its own it ends in ``sys.exit`` with the exit code of what happened."""

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

    A repository is a directory with a .hangar folder in it. Commands work on the one of the current directory or of the nearest
    directory above that has one.

    Begin with:
      hangar init
      hangar column create images UINT8 28 28
      hangar import images path/to/folder
      hangar commit -m "The first images"

    A revision (REV) is a branch, a tag, a digest or the beginning of one, and what leads from there: master~2, v1^.

    On a terminal long output goes through a pager: $HANGAR_PAGER, else $PAGER, else less -FRX. The options below may stand after the
    command too.
    """
    settings = settings_of(ctx)
    ctx.color = settings.click_colour()
    for stream in (sys.stdout, sys.stderr):
        # A name that is no UTF-8 is shown somehow, on any terminal, rather than ending the command.
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
        help="Show the versions of Hangar and of what it stands on.",
    )
)
