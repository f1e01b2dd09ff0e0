"""The command that prints a shell's completion script."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from synthzoo.cli.group import main


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a shell's completion script.

    For bash, add to ~/.bashrc:  eval "$(synthzoo completion bash)"
    """
    found = get_completion_class(shell)
    if found is None:  # pragma: no cover  click knows all three
        raise click.UsageError(f"click has no completion for {shell}.")
    script = found(main, {}, "synthzoo", "_SYNTHZOO_COMPLETE")
    click.echo(script.source())
