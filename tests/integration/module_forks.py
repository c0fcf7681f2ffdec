# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules in forks of a process that has Ansible and the drivers imported, which is most of what a call would take.

The modules themselves, and what they import of the collection, are read anew for each call.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kit.common import REPO

SECONDS = 120
_MESSAGE = 1 << 18


def call(module: Path, hidden: str, arguments: str, env: Mapping[str, str]) -> tuple[str, str]:
    """What a module prints on standard output and on standard error when it gets its arguments on standard input.

    `hidden` is the driver that it cannot import.
    """
    control, lock = _forker()
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as errors:
        given.write(arguments.encode())
        given.seek(0)
        request = json.dumps({"module": str(module), "hidden": hidden, "env": dict(env)}).encode()
        with lock:
            socket.send_fds(control, [request], [given.fileno(), writer, errors.fileno()])
            pid = int(control.recv(32))
        os.close(writer)
        watch = threading.Timer(SECONDS, _kill, [pid])
        watch.start()
        with open(reader, "rb") as output:
            printed = output.read()
        watch.cancel()
        errors.seek(0)
        return printed.decode(), errors.read().decode()


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@functools.cache
def _forker() -> tuple[socket.socket, threading.Lock]:
    """The process that forks; it ends when this one does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    path = os.pathsep.join([str(REPO / ".collections"), str(REPO / "tests")])
    command = [sys.executable, __file__, str(theirs.fileno())]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env={**os.environ, "PYTHONPATH": path})
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours, threading.Lock()


def _serve(control: socket.socket) -> None:
    import ansible.module_utils.basic  # noqa: F401

    for driver in ("psycopg", "psycopg2.extras"):
        with contextlib.suppress(ImportError):
            __import__(driver)
    signal.signal(signal.SIGCHLD, _reap)
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, _MESSAGE, 3)
        if not request:
            return
        pid = os.fork()
        if pid == 0:
            control.close()
            _run(json.loads(request), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        control.send(str(pid).encode())


def _reap(*_: object) -> None:
    """Wait for children that have ended, so that their time counts as that of the tests."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _run(request: Mapping[str, Any], descriptors: list[int]) -> None:
    """Become the module, in the child."""
    for standard, descriptor in enumerate(descriptors):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(request["env"])
    for name in [name for name in sys.modules if name.partition(".")[0] == request["hidden"]]:
        del sys.modules[name]
    sys.modules[request["hidden"]] = None  # type: ignore[assignment]
    sys.argv = [request["module"]]
    code = 1
    try:
        runpy.run_path(request["module"], run_name="__main__")
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
