"""`python -m imer` and the installed command `imer`."""

from __future__ import annotations

from imer.cli.app import app


def main() -> None:
    """Run the command line."""
    app(prog_name="imer")


if __name__ == "__main__":
    main()
