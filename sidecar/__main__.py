"""Entry point of ``python -m sidecar`` and of the command ``sidecar``."""

import sys

from sidecar.cli.main import run


def main() -> None:
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
