"""`python -m imer` and the installed command `imer`."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper

from imer.core.errors import EXIT_INTERRUPTED


def open_standard_streams() -> None:
    """Give a process that was started with closed standard streams ones that lead nowhere.

    Otherwise the next file or pipe that is opened would be called 0, 1 or 2, and get what is printed.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def write_anything() -> None:
    """Let standard streams whose encoding lacks a character write its number instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def main() -> None:
    """Run the command line. Ctrl-C while its parts are still being imported ends as quietly as later."""
    open_standard_streams()
    write_anything()
    try:
        from imer.cli.app import run

        raise SystemExit(run(sys.argv[1:]))
    except KeyboardInterrupt:
        raise SystemExit(EXIT_INTERRUPTED) from None


if __name__ == "__main__":
    main()
