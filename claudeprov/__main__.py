"""``python -m claudeprov``: the command line."""

from __future__ import annotations

import sys

from claudeprov.commands import main

if __name__ == "__main__":
    sys.exit(main())
