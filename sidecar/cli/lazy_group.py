"""Click group with a fixed list of verbs. A verb's module is loaded only when it is called."""

import difflib
import importlib
from collections.abc import Mapping

import click


class LazyGroup(click.Group):
    """``verbs``: name → (``module:name``, help line)."""

    verbs: Mapping[str, tuple[str, str]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self.verbs:
            return None
        module, _, name = self.verbs[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.verbs and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self.verbs, n=1)
            hint = f"did you mean {near[0]}?" if near else f"`{ctx.command_path} --help` lists them"
            raise click.UsageError(f"no such command {args[0]!r}: {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in self.verbs.items()])


def lazy(verbs: Mapping[str, tuple[str, str]]) -> type[LazyGroup]:
    """Return the group class for these verbs: ``@click.group(cls=lazy(VERBS))``."""
    return type("Verbs", (LazyGroup,), {"verbs": verbs})
