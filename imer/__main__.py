"""`python -m imer` and the installed command `imer`."""

from __future__ import annotations

import sys

from imer.core.errors import EXIT_INTERRUPTED


def main() -> None:
    """Run the command line. Ctrl-C while its parts are still being imported ends as quietly as later."""
    try:
        from imer.cli.app import run

        raise SystemExit(run(sys.argv[1:]))
    except KeyboardInterrupt:
        raise SystemExit(EXIT_INTERRUPTED) from None


if __name__ == "__main__":
    main()
