"""The command `imer`: its subcommands in pipeline order. Nothing heavy is imported until a command runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from imer._version import __version__
from imer.cli import data, demo, doctor, eval, export, extract, ls, mask, predict, report, sweep, train
from imer.cli.reporting import give_up_stdout, refuse
from imer.core.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_INVALID_INPUT, EXIT_USAGE

_EPILOG = (
    "Exit codes: 0 done · 1 a bug · 2 usage or config · 3 finished, but some items failed (errors.jsonl) · "
    "4 input corrupt or invalid · 5 a dependency, weights or device is missing · 6 output exists or is locked · "
    "129/130/143 interrupted: the same command continues (extract, train, sweep, predict -o) or starts again."
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


app.command("demo")(demo.demo)
app.command("extract")(extract.extract_command)
app.command("mask")(mask.mask)
app.command("train")(train.train_command)
app.command("eval")(eval.evaluate_command)
app.command("sweep")(sweep.sweep_command)
app.command("predict")(predict.predict)
app.command("export")(export.export_command)
app.command("report")(report.report_command)
app.add_typer(data.app, name="data")
app.command("ls")(ls.ls)
app.command("doctor")(doctor.doctor)


def run(words: list[str]) -> int:
    """Run a command line and return its exit code. What Typer cannot read is told like any other error."""
    try:
        code = app(args=words, prog_name="imer", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except SystemExit:  # how Typer ends where nobody reads its help any more
        return EXIT_DONE
    except OSError as error:  # help or version that cannot be written
        give_up_stdout()
        refuse("imer", f"this cannot be written to stdout: {error.strerror}.", as_json=False)
        return EXIT_INVALID_INPUT
    except (typer.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except Exception as error:
        if not (hasattr(error, "show") and hasattr(error, "format_message")):  # nothing of Typer's
            raise
        context = getattr(error, "ctx", None)
        if context is None or type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            return EXIT_USAGE
        command = context.command_path.removeprefix("imer").strip()
        message = error.format_message().rstrip(".")
        see = " See" if message.endswith("?") else "; see"
        refuse(command or "imer", f"{message}{see} `{context.command_path} --help`.", as_json="--json" in words)
        return EXIT_USAGE
    return code if isinstance(code, int) else EXIT_DONE
