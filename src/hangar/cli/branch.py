"""``hangar branch list``, ``create``, ``rename``, ``delete`` and ``restore``."""

from __future__ import annotations

import click

from hangar.cli import complete
from hangar.cli.decorate import Decoration
from hangar.cli.groups import SuggestingGroup, nearest
from hangar.cli.output import SHORT_DIGEST, echo, echo_lines, json_option, style, table, visible, write_json
from hangar.cli.pager import paged
from hangar.cli.state import State, pass_state

__all__ = ["command"]


class BranchGroup(SuggestingGroup):
    """Accepts ``branch NAME [REV]`` and ``branch -m`` as git does: a word that is no command is a new branch."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; ``-m`` is the command ``rename``."""
        words = ["rename" if word in ("-m", "--move") else word for word in args[:1]]
        return super().parse_args(ctx, [*words, *args[1:]])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command, or ``create``."""
        name = args[0]
        if (
            name in self.commands
            or name in self.hints
            or name.startswith("-")
            or nearest(name, self.list_commands(ctx))
        ):
            return super().resolve_command(ctx, args)
        return "create", self.commands["create"], args


@click.group(
    "branch",
    cls=BranchGroup,
    invoke_without_command=True,
    hints={"rm": "Did you mean delete?", "remove": "Did you mean delete?", "mv": "Did you mean rename?"},
)
@click.option("-d", "gone", metavar="NAME", hidden=True, help="Same as `branch delete NAME`, as in git.")
@click.option("-D", "gone_for_sure", metavar="NAME", hidden=True, help="Same as `branch delete -f NAME`.")
@json_option
@click.pass_context
def command(ctx: click.Context, gone: str | None, gone_for_sure: str | None, as_json: bool) -> None:
    """List, create, rename, delete and restore branches. Without arguments it lists them; with a NAME it creates one.

    For example:
      hangar branch
      hangar branch create relabel
      hangar branch -m relabel labels-of-may
      hangar branch delete relabel
    """
    name = gone or gone_for_sure
    if ctx.invoked_subcommand is None and name is not None:
        ctx.invoke(delete, name=name, force=gone is None, as_json=as_json)
    elif ctx.invoked_subcommand is None:
        ctx.invoke(list_, as_json=as_json)


@command.command("list")
@click.option("--deleted", is_flag=True, help="List deleted branches, which `branch restore` brings back.")
@json_option
@pass_state
@paged
def list_(state: State, deleted: bool = False, as_json: bool = False) -> None:
    """List all branches; the current branch has a star.

    JSON: branch (the current one), branches (name, digest or "", message).
    """
    from hangar.digest import Digest
    from hangar.history import branch_refs, deleted_branches
    from hangar.objects.records import load_commit

    refs, db = state.stores.refs, state.stores.db
    stands: dict[str, Digest | None]
    if deleted:
        stands = {name: Digest(bytes.fromhex(digest)) for name, digest in deleted_branches(refs).items()}
    else:
        at = dict(refs.items(""))
        stands = {name: at.get(ref) for name, ref in branch_refs(refs).items()}
    messages = {digest: load_commit(db, digest).message for digest in set(stands.values()) if digest}
    found = []
    for name, digest in stands.items():
        text = messages[digest] if digest else ""
        found.append({"name": name, "digest": digest.hex() if digest else "", "message": text})
    head = refs.head().write_branch
    if as_json:
        write_json({"branch": head, "branches": found})
        return
    look = Decoration(refs)
    rows = []
    for one in found:
        label = f"{'*' if one['name'] == head else ' '} {look.branch(one['name'])}"
        digest_text = style(one["digest"][:SHORT_DIGEST], "yellow") if one["digest"] else "(no commit yet)"
        rows.append((label, digest_text, visible(one["message"].partition("\n")[0])))
    echo_lines(table(rows))


@command.command("create")
@click.argument("name")
@click.argument("rev", required=False, shell_complete=complete.revisions)
@json_option
@pass_state
def create(state: State, name: str, rev: str | None, as_json: bool) -> None:
    """Create the branch NAME at REV, by default the last commit of the current branch. Does not switch to it.

    JSON: name, digest.
    """
    base = rev or f"heads/{state.repository.head().write_branch}"
    made = state.repository.create_branch(name, base)
    if as_json:
        write_json({"name": made.name, "digest": made.digest})
    else:
        echo(f"Created branch {made.name} at {made.digest[:SHORT_DIGEST]}")


@command.command("rename")
@click.argument("names", nargs=-1, required=True, metavar="[OLD] NEW", shell_complete=complete.branches)
@json_option
@pass_state
def rename(state: State, names: tuple[str, ...], as_json: bool) -> None:
    """Rename the branch OLD, by default the current branch, to NEW. `branch -m` does the same.

    Its reflog and its staged changes are kept.

    JSON: name, renamed_from, digest.
    """
    from hangar.config import Config
    from hangar.history import rename_branch

    if len(names) > 2:
        raise click.UsageError("branch rename takes [OLD] NEW")
    repository, stores = state.repository, state.stores
    old = names[0] if len(names) == 2 else repository.head().write_branch
    made = rename_branch(stores.db, stores.refs, old, names[-1], who=Config(stores.directory).person())
    if as_json:
        write_json({"name": made.name, "renamed_from": old, "digest": made.digest})
    else:
        echo(f"Renamed branch {visible(old)} to {made.name}")


@command.command("delete")
@click.argument("name", shell_complete=complete.branches)
@click.option("-f", "--force", is_flag=True, help="Delete it even if no other branch contains its commits.")
@json_option
@pass_state
def delete(state: State, name: str, force: bool, as_json: bool) -> None:
    """Delete the branch NAME.

    JSON: name, digest (of its last commit).
    """
    gone = state.repository.remove_branch(name, force_delete=force)
    if as_json:
        write_json({"name": gone.name, "digest": gone.digest})
    else:
        echo(f"Deleted branch {gone.name} (it was at {gone.digest[:SHORT_DIGEST] or 'no commit'})")
        if gone.digest:
            echo(f"To bring it back, run `hangar branch restore {gone.name}`")


@command.command("restore")
@click.argument("name", shell_complete=complete.deleted_branches)
@json_option
@pass_state
def restore(state: State, name: str, as_json: bool) -> None:
    """Bring the deleted branch NAME back, at its last commit. `branch list --deleted` lists what can be brought back.

    JSON: name, digest.
    """
    made = state.repository.restore_branch(name)
    if as_json:
        write_json({"name": made.name, "digest": made.digest})
    else:
        echo(f"Restored branch {made.name} at {made.digest[:SHORT_DIGEST]}")
