# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entry point of `make demo` and `make demo-clean`."""

from __future__ import annotations

import sys

from demo import place
from kit.common import KitError


def main(arguments: list[str]) -> None:
    if arguments == ["clean"]:
        place.clean()
    elif arguments == ["run"]:
        from demo import run  # Needs what `make venv` installs; cleaning up does not.

        run.run()
    else:
        raise KitError("usage: python3 -m demo run|clean")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KitError as error:
        sys.exit(f"\n{error}")
