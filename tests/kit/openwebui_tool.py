# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside Open WebUI's own environment and drives Open WebUI's own code; see kit.schemas.

openwebui_tool.py migrate REVISION '["email", "name", "password"]'|null
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys

from alembic import command
from alembic.config import Config


def migrate(revision: str) -> None:
    """What Open WebUI does when it starts; importing its models runs the older peewee migrations (up to 0.9.5)."""
    command.upgrade(Config("alembic.ini"), revision)


def sign_up_admin(email: str, name: str, password: str) -> None:
    """The rows that the sign-up page writes for the first user."""
    import bcrypt
    from open_webui.models.auths import Auths

    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(10)).decode()
    account = Auths.insert_new_auth(email, hashed, name, role="admin")
    if inspect.iscoroutine(account):  # 0.9 and up
        account = asyncio.run(account)
    if account is None:
        sys.exit(f"Open WebUI refused the account {email}")


if __name__ == "__main__":
    _command, _revision, _account = sys.argv[1:]
    migrate(_revision)
    if json.loads(_account):
        sign_up_admin(*json.loads(_account))
