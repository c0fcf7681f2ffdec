# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A login to LiteLLM's database for modules that use the installed bridge, with errors that say what to do.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._causes import cause
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA, quote
from ansible_collections.llmops.user_bridge.plugins.module_utils._remedies import DEPLOY

_NO_SUCH_SCHEMA = "3F000"
_NO_SUCH_OBJECT = (_pg.UNDEFINED_TABLE, "42703", _pg.UNDEFINED_FUNCTION)
NO_SUCH_ROLE = "22023"
# Raised by the bridge when Open WebUI's side could not be reached or did not answer in time.
TARGET_AWAY = ("UB001", "UB002")
# Raised where this is not the database that the bridge was installed in.
NOT_THE_INSTALLATION = "UB005"
LACKS_OBJECTS = (_NO_SUCH_SCHEMA, *_NO_SUCH_OBJECT)


def another_version(database: str, error: BaseException) -> str:
    """The message where functions or columns of the bridge are missing."""
    return (
        f"the bridge in database {database} is of another version than this collection, or damaged: "
        f"{_pg.describe(error)}; {DEPLOY}"
    )


def lacks_objects(error: BaseException) -> bool:
    """Whether the error says that an object of the bridge is missing."""
    return _pg.sqlstate(error) in LACKS_OBJECTS


def not_installed(database: str, option: str = "login_db") -> str:
    """The message where a database has no bridge."""
    return f"the bridge is not installed in database {database} ({option}): {DEPLOY}"


def cannot_act(login: str, owner: str, database: str, error: BaseException) -> str:
    """The message where a login has not the owner's rights."""
    return (
        f"login_user {login} cannot act as {owner} (owner) in database {database}: "
        f"{_pg.describe(error)}; log in as a superuser, or GRANT {quote(owner)} TO {quote(login)}"
    )


class Session:
    """One connection to LiteLLM's database."""

    def __init__(self, params: dict[str, Any], owner: str | None = None) -> None:
        """With an owner, every transaction has that role's rights, as bridge's functions need them."""
        self.owner = owner
        self.connection = _pg.connect(params)
        self.cur = _pg.cursor(self.connection)
        (row,) = _pg.rows(
            self.cur,
            "SELECT pg_catalog.current_database()::text AS database, current_user::text AS login,"
            f" EXISTS (SELECT FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
            f" WHERE n.nspname = '{SCHEMA}' AND c.relname = 'sync_queue') AS installed",
        )
        self.database, self.login, self.installed = row["database"], row["login"], row["installed"]

    @contextmanager
    def transaction(self, read_only: bool = True, keep: bool | None = None) -> Iterator[None]:
        """A transaction with the owner's rights, whose errors say what to do."""
        if not self.installed:
            raise BridgeError(not_installed(self.database))
        try:
            with _pg.transaction(self.cur, read_only, keep):
                if self.owner is not None:
                    _pg.set_role(self.cur, self.owner)
                yield
        except _pg.PgError as error:
            message = self.explain(error)
            if message is None:
                raise
            raise BridgeError(message) from None

    def explain(self, error: BaseException) -> str | None:
        """What a server's error means for whoever runs the module, None where its own words say it best."""
        state = _pg.sqlstate(error)
        if lacks_objects(error):
            return another_version(self.database, error)
        if state in TARGET_AWAY:
            message = _pg.describe(error)
            return f"LiteLLM's server gets no answer from Open WebUI's: {message}; {cause(state, message).remedy}"
        if state == NOT_THE_INSTALLATION:
            return f"database {self.database}: {_pg.describe(error)}"
        if self.owner is not None and state in (NO_SUCH_ROLE, _pg.INSUFFICIENT_PRIVILEGE):
            return cannot_act(self.login, self.owner, self.database, error)
        if state == _pg.INSUFFICIENT_PRIVILEGE:
            return (
                f"login_user {self.login} may not look into the bridge in database {self.database}: "
                f"{_pg.describe(error)}; log in as a superuser or as a member of the bridge's owner role"
            )
        return None
