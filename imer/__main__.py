"""`python -m imer` and the installed command `imer`."""

from __future__ import annotations

from imer.core.errors import EXIT_INTERRUPTED


def main() -> None:
    """Run the command line. Ctrl-C while its parts are still being imported ends as quietly as later."""
    try:
        from imer.cli.app import app

        app(prog_name="imer")
    except KeyboardInterrupt:
        raise SystemExit(EXIT_INTERRUPTED) from None


if __name__ == "__main__":
    main()
