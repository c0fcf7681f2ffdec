# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules and playbooks in forks of processes that have imported Ansible and the drivers, most of what a start takes.

A fork has environment, working directory, standard streams and exit code as a program of its own has them. Modules,
what they import of the collection, and whatever a playbook consists of are read anew for each call.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import hashlib
import importlib
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

_REPO = Path(__file__).parents[2]
# Hides psycopg 3. Each module imports psycopg2 in a third of the time.
ONLY_PSYCOPG2 = str(Path(__file__).with_name("only_psycopg2"))
_MESSAGE = 1 << 18
_STARTING = threading.Lock()
# A process that runs playbooks takes 70 MB, and there is one for each set of settings.
_KEPT = 4
# What Ansible itself does not read.
_OF_ONE_RUN = ("PGOPTIONS", "PYTEST_CURRENT_TEST", "PYTHONPATH")


def module(path: Path, hidden: str, arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a module that gets its arguments on standard input. `hidden` is the driver that it cannot import."""
    # Two threads would start two processes.
    with _STARTING:
        forker = _modules()
    return forker.run([str(path), hidden], env, given=arguments, seconds=120)


def playbook(
    arguments: Sequence[str], cwd: Path, env: Mapping[str, str], *, one_output: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook, with both outputs in one or each for itself."""
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    return _playbooks(env).run([program, *arguments], env, cwd=cwd, seconds=1800, one_output=one_output)


@functools.cache
def interpreter() -> str:
    """A program that Ansible can use as the Python of its modules: it passes each on to a process that forks.

    Another user's modules, those that are a file, and those with other libraries get a Python of their own. A module of
    no collection is not found.
    """
    forker = _modules()
    path = forker.folder / "python"
    path.write_text(_INTERPRETER.format(python=sys.executable, door=forker.door, path=ONLY_PSYCOPG2), encoding="utf-8")
    path.chmod(0o755)
    # Whoever is not let through the door may still start a Python.
    forker.folder.chmod(0o711)
    return str(path)


@functools.cache
def home() -> Path:
    """Where Ansible writes: the same folder for all runs, for it is a setting."""
    folder = Path(tempfile.mkdtemp(prefix="user-bridge-ansible-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


# Without modules of Python's own library but what is in the program itself: it is started for each module.
_INTERPRETER = """#!{python} -IS
import posix
import sys

if len(sys.argv) == 1 and posix.environ.get(b"PYTHONPATH", b"").endswith({path!r}.encode()):
    import _socket

    door = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    try:
        door.connect({door!r})
    except OSError:
        pass
    else:
        words = [posix.getcwdb(), b"0", *(name + b"=" + value for name, value in posix.environ.items())]
        streams = b"".join(stream.to_bytes(4, sys.byteorder) for stream in range(3))
        door.sendmsg([b"\\0".join(words)], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
        door.recv(32)
        posix._exit(int(door.recv(32) or b"1"))
posix.execv({python!r}, [{python!r}, *sys.argv[1:]])
"""


class Forker:
    """A process that forks for each call; it ends when this one does."""

    def __init__(self, kind: str, env: Mapping[str, str]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="user-bridge-forks-", dir="/tmp"))
        self.door = str(self.folder / "door")
        ended, self.leash = os.pipe()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(self.door)
            os.chmod(self.door, 0o600)
            listener.listen(64)
            passed = [listener.fileno(), ended]
            self.process = subprocess.Popen(
                [sys.executable, "-P", __file__, kind, str(home()), *map(str, passed)],
                pass_fds=passed,
                stdin=subprocess.DEVNULL,
                # Ansible looks at it once, to see whether it is a terminal.
                stdout=subprocess.DEVNULL,
                cwd=self.folder,
                env=dict(env),
            )
        os.close(ended)
        atexit.register(self.end)

    def end(self) -> None:
        """Once; its time then counts as that of the tests."""
        atexit.unregister(self.end)
        os.close(self.leash)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        cwd: Path | None = None,
        given: str = "",
        seconds: float,
        one_output: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """What a fork makes of its arguments and of its standard input; it is killed when it takes too long."""
        words = [str(cwd or Path.cwd()), str(len(argv)), *argv, *(f"{name}={value}" for name, value in env.items())]
        reader, writer = os.pipe()
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door,
            tempfile.TemporaryFile() as stdin,
            tempfile.TemporaryFile() as errors,
        ):
            stdin.write(given.encode())
            stdin.seek(0)
            door.connect(self.door)
            streams = [stdin.fileno(), writer, writer if one_output else errors.fileno()]
            socket.send_fds(door, [os.fsencode("\0".join(words))], streams)
            os.close(writer)
            watch = threading.Timer(seconds, _kill, [int(door.recv(32))])
            watch.start()
            with open(reader, "rb") as output:
                printed = output.read()
            code = int(door.recv(32) or -signal.SIGKILL)
            watch.cancel()
            errors.seek(0)
            return subprocess.CompletedProcess(argv, code, printed.decode(), errors.read().decode())


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@functools.cache
def _modules() -> Forker:
    return Forker("module", {**os.environ, "PYTHONPATH": str(_REPO / ".collections")})


_started: dict[frozenset[tuple[str, str]], Forker] = {}


def _playbooks(env: Mapping[str, str]) -> Forker:
    """Ansible reads most of its settings when it is imported, so each set of them needs another process."""
    settings = {name: value for name, value in env.items() if name not in _OF_ONE_RUN}
    key = frozenset(settings.items())
    # Those used last are kept.
    forker = _started.pop(key, None) or Forker("playbook", settings)
    _started[key] = forker
    for old in list(_started)[:-_KEPT]:
        _started.pop(old).end()
    return forker


# From here on in the process that forks


def _prepare_modules(shared: Path) -> None:
    import ansible.module_utils.basic  # noqa: F401

    _compiled().keep_modules(shared / "modules")

    for driver in ("psycopg", "psycopg2.extras"):
        with contextlib.suppress(ImportError):
            __import__(driver)


def _become_module(argv: Sequence[str]) -> None:
    """A file; without one, the program on standard input, as Ansible sends it."""
    for name in [name for name in sys.modules if name.partition(".")[0] == (argv[1] if argv else "psycopg")]:
        del sys.modules[name]
    if argv:
        path, hidden = argv
        sys.modules[hidden] = None  # type: ignore[assignment]
        sys.argv = [path]
        runpy.run_path(path, run_name="__main__")
        return
    sys.argv = [""]
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(sys.stdin.buffer.read(), "<stdin>", "exec"), main.__dict__)


def _prepare_playbooks(shared: Path) -> None:
    import ansible.cli.playbook  # noqa: F401
    from ansible import constants
    from ansible.plugins.loader import callback_loader, connection_loader, shell_loader, strategy_loader

    # Else each task reads their documentation, for their settings.
    for loader, name in (
        (callback_loader, "default"),
        (connection_loader, "local"),
        (shell_loader, "sh"),
        (strategy_loader, "linear"),
    ):
        loader.get(name, class_only=True)
    # Whoever waits for a task need not look a thousand times a second.
    constants.DEFAULT_INTERNAL_POLL_INTERVAL = 0.005
    compiled = _compiled()
    # 2.18 compiles elsewhere.
    with contextlib.suppress(ImportError):
        compiled.keep_templates(shared / "templates")
    # Copies of the collection are not the collection.
    collections = hashlib.sha256(os.environ.get("ANSIBLE_COLLECTIONS_PATH", "").encode()).hexdigest()
    compiled.keep_packed(shared / "packed" / collections)


def _compiled() -> types.ModuleType:
    """kit.compiled; of what is imported later, nothing is to be found there."""
    sys.path.append(str(_REPO / "tests"))
    try:
        return importlib.import_module("kit.compiled")
    finally:
        sys.path.pop()


def _become_playbook(argv: Sequence[str]) -> None:
    from ansible.cli.playbook import main
    from ansible.utils.path import cleanup_tmp_file

    # That of the process that forks: it holds what modules are packed into, which needs to be done once.
    atexit.unregister(cleanup_tmp_file)
    sys.argv = list(argv)
    main()


_KINDS: Mapping[str, tuple[Callable[[Path], None], Callable[[Sequence[str]], None]]] = {
    "module": (_prepare_modules, _become_module),
    "playbook": (_prepare_playbooks, _become_playbook),
}


def _serve(kind: str, shared: Path, listener: socket.socket, leash: int) -> None:
    prepare, become = _KINDS[kind]
    prepare(shared)
    own = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = [folder for folder in sys.path if folder not in own]
    signal.signal(signal.SIGCHLD, _reap)
    # What does not change is not to be copied into each fork.
    gc.collect()
    gc.freeze()
    # A task or a module has ended before its garbage matters.
    gc.set_threshold(100_000)
    while leash not in select.select([listener.fileno(), leash], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            os.close(leash)
            _answer(connection, become, path)
        connection.close()


def _reap(*_: object) -> None:
    """Wait for children that have ended, so that their time counts as that of the tests."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _answer(connection: socket.socket, become: Callable[[Sequence[str]], None], path: Sequence[str]) -> NoReturn:
    """Become the program, in the child."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        connection.send(str(os.getpid()).encode())
        argv = _take_over(connection, path)
        become(argv)
        code = 0
    except SystemExit as ended:
        code = _code(ended.code)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        connection.send(str(code).encode())
        os._exit(code)


def _take_over(connection: socket.socket, path: Sequence[str]) -> Sequence[str]:
    """Streams, working directory, environment and Python's path; what is left are the arguments."""
    message, descriptors, _, _ = socket.recv_fds(connection, _MESSAGE, 3)
    for standard, descriptor in enumerate(descriptors):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    cwd, number, *words = os.fsdecode(message).split("\0")
    argv, env = words[: int(number)], words[int(number) :]
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update((name, value) for name, _, value in (entry.partition("=") for entry in env))
    own = [*filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    sys.path[:] = [*own, *path]
    # As Python does when it starts.
    for folder in own:
        if (file := Path(folder, "sitecustomize.py")).exists():
            runpy.run_path(str(file))
    return argv


def _code(given: object) -> int:
    if given is None or isinstance(given, int):
        return int(given or 0)
    print(given, file=sys.stderr)
    return 1


if __name__ == "__main__":
    _serve(sys.argv[1], Path(sys.argv[2]), socket.socket(fileno=int(sys.argv[3])), int(sys.argv[4]))
