# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody else does meanwhile."""

from __future__ import annotations

import threading
import time
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

    def await_steps(self, number: int, seconds: float = 60) -> None:
        """Until so many more have been done: how many there are in a time is up to the machine."""
        wanted, give_up = self.done + number, time.monotonic() + seconds
        while self.done < wanted and self.is_alive():
            assert time.monotonic() < give_up, f"{self.done} of {wanted} steps"
            time.sleep(0.01)

    def __enter__(self) -> Background:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.join()
        if self.error:
            raise self.error
