# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The query of user_bridge.not_plain() for modules, which need it where the bridge is not installed yet."""

from __future__ import annotations

import re

from kit.common import REPO

_SOURCE = REPO / "roles" / "triggers" / "templates" / "engine" / "both" / "not_plain.sql.j2"
_HEAD = '''# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What could run code of a table's owner in whoever reads or writes the table.

Written by "make generate" from roles/triggers/templates/engine/both/not_plain.sql.j2.
This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

NOT_PLAIN = """
'''


def module() -> str:
    """The text of plugins/module_utils/_plain/query.py."""
    (query,) = re.findall(r"(?s)RETURN QUERY\n(.*?);\nEND\n", _SOURCE.read_text(encoding="utf-8"))
    # A % would be the driver's.
    given = (
        query.replace("%", "%%").replace("p_tables", "%(tables)s::text[]").replace("p_writes", "%(writes)s::boolean")
    )
    assert '"""' not in given and "\\" not in given
    return f'{_HEAD}{given.rstrip()}"""\n'
