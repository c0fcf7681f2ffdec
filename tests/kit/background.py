# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody else does meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Background(threading.Thread):
    """Does something again and again while the with block runs; an error in it is the block's.

    step: is given how often it has been done; pause: between two steps, in seconds.
    """

    def __init__(self, step: Callable[[int], None], pause: float = 0.01) -> None:
        super().__init__(daemon=True)
        self.step = step
        self.pause = pause
        self.stopping = threading.Event()
        self.done = 0
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            while not self.stopping.wait(self.pause):
                self.step(self.done)
                self.done += 1
        except Exception as error:
            self.error = error

    def __enter__(self) -> Background:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.join()
        if self.error:
            raise self.error
