"""The command `imer`: its subcommands in pipeline order. Nothing heavy is imported until a command runs."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Annotated

import typer

from imer._version import __version__
from imer.cli import data, doctor, ls, mask

_EPILOG = (
    "Exit codes: 0 done · 1 a bug · 2 usage or config · 3 finished, but some items failed (errors.jsonl) · "
    "4 input corrupt or invalid · 5 a dependency, weights or device is missing · 6 output exists or is locked · "
    "130/143 interrupted: the same command continues."
)

app = typer.Typer(
    name="imer",
    help="Emotion and sentiment from audio, video and text, when some of them are missing.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"imer {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Emotion and sentiment from audio, video and text, when some of them are missing."""


app.command("mask")(mask.mask)
app.add_typer(data.app, name="data")
app.command("ls")(ls.ls)
app.command("doctor")(doctor.doctor)
for _name, _function in (  # until every part of the chain has landed
    ("demo", "demo"),
    ("extract", "extract_command"),
    ("train", "train_command"),
    ("eval", "evaluate_command"),
    ("predict", "predict"),
    ("export", "export_command"),
    ("report", "report_command"),
):
    if find_spec(f"imer.cli.{_name}"):
        app.command(_name)(getattr(import_module(f"imer.cli.{_name}"), _function))
