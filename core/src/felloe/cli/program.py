"""The program: its commands by name, and how a run of it ends."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

from felloe.cli.ending import end_on_signals

__all__ = ["run"]

COMMANDS = {
    "metadata": "METADATA of each requirement; nothing is installed.",
    "wheel": "A wheel of each requirement, put into a folder.",
    "explain": "How each requirement would be answered, and why; nothing is done.",
    "sources": "The installed sources, and why one is not there.",
    "cache": "Where the cache is, how large, what is in it; cleaning it.",
}


class Commands(click.Group):
    """Knows its commands by name, and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"felloe.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(ctx: click.Context, _parameter: click.Parameter, value: Any) -> None:
    if value:
        from importlib.metadata import version

        click.echo(f"felloe {version('felloe-core')}")
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print it.")
def felloe() -> None:
    """A distribution database: the metadata and the wheel of any requirement, and never a build that was not needed."""


def run() -> NoReturn:
    """Runs the command line. Exits with 0 (all good), 1 (something failed), 2 (wrong usage), 130 (interrupted).

    SIGTERM and SIGHUP unwind like Ctrl-C, so that nothing is left behind, and exit with 143 and 129.
    """
    end_on_signals()
    as_json = "--json" in sys.argv[1:]  # also where what stands beside it cannot be parsed
    try:
        code = felloe.main(standalone_mode=False) or 0  # the code of click's Exit, None where there was none
    except click.UsageError as error:
        code = _wrong_usage(error, as_json=as_json)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        code = 130
    except BrokenPipeError:
        # Whoever read our output has gone. Python would complain at exit when it flushes the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:  # noqa: BLE001  # the last line of defence
        from felloe.cli.output import exit_code, show_failure

        show_failure(error, as_json=as_json)
        code = exit_code(error)
    sys.exit(code)


def _wrong_usage(error: click.UsageError, *, as_json: bool) -> int:
    """What click says of a command line that it cannot parse."""
    if as_json:
        from felloe.cli.output import print_json

        hint = f"`{error.ctx.command_path if error.ctx else 'felloe'} --help` lists what there is"
        print_json(error={"code": "wrong-usage", "message": error.format_message(), "hint": hint})
    else:
        error.show()
    return 2
