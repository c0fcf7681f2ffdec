# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps what Ansible compiles: each task and each module is a process that compiles all of its templates or imports.

Both are kept in a folder by their whole text, so that a text that has changed is compiled anew. Molecule's hosts have a
copy of this file; there several users share the folder, and whoever cannot read or write in it compiles.
"""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import os
import zipimport
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any

# What Jinja keeps its lexers by.
_OF_THE_LEXER = (
    *(f"{part}_{end}_string" for part in ("block", "variable", "comment") for end in ("start", "end")),
    "line_statement_prefix",
    "line_comment_prefix",
    "trim_blocks",
    "lstrip_blocks",
    "newline_sequence",
    "keep_trailing_newline",
)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _kept(folder: Path, recipe: tuple[Any, ...], make: Callable[[], CodeType]) -> CodeType:
    path = folder / hashlib.sha256(repr(recipe).encode()).hexdigest()
    with contextlib.suppress(OSError):
        code: CodeType = marshal.loads(path.read_bytes())
        return code
    code = make()
    part = path.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):
        part.write_bytes(marshal.dumps(code))
        part.rename(path)
    return code


def keep_packed(folder: Path) -> None:
    """Modules with what they import, as they are sent. By their names alone: a folder is for one state of the code."""
    from ansible import constants

    Path(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache").symlink_to(_made(folder))


def keep_modules(folder: Path) -> None:
    """What modules import comes in an archive, whose path is another one each time."""
    compile_source = zipimport._compile_source  # type: ignore[attr-defined]
    _made(folder)

    def compile_kept(path: str, source: bytes) -> CodeType:
        inside = path.partition(".zip")[2]
        return _kept(folder, (inside, source), lambda: compile_source(path, source))

    zipimport._compile_source = compile_kept  # type: ignore[attr-defined]


def keep_templates(folder: Path) -> None:
    """Jinja's templates, by all that their code depends on."""
    from ansible._internal._templating._jinja_bits import AnsibleEnvironment, _TemplateCompileContext
    from jinja2 import Environment

    compile_source = Environment.compile
    _made(folder)

    def compile_kept(self: Any, source: Any, name: Any = None, filename: Any = None, *more: Any, **named: Any) -> Any:
        def make() -> Any:
            return compile_source(self, source, name, filename, *more, **named)

        known = isinstance(self, AnsibleEnvironment) or type(self) is Environment
        if not isinstance(source, str) or not known or more or named:
            return make()
        context = _TemplateCompileContext.current(optional=True)
        recipe = (
            type(self).__qualname__,
            [getattr(self, each) for each in _OF_THE_LEXER],
            sorted(self.extensions),
            context and context.escape_backslashes,
            str(name),
            str(filename),
            str(source),
        )
        return _kept(folder, recipe, make)

    Environment.compile = compile_kept  # type: ignore[method-assign]
