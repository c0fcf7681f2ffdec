# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with the roles' variables: their names, their types, and what the values have to be among each other.

Surveys and command lines hand on text, so whatever can be read as the type of an option is taken.

This plugin_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from datetime import date
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.common.validation import check_type_dict
from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._migration.bounds import MAX_BATCH, MAX_PARALLEL
from ansible_collections.llmops.user_bridge.plugins.module_utils._moments import NO_MOMENT, instant
from ansible_collections.llmops.user_bridge.plugins.module_utils._settings import check as settings_check
from ansible_collections.llmops.user_bridge.plugins.module_utils._settings.declared import VARIABLES

PREFIX = "bridge_"
# Not options of the roles: what the playbooks read, and what the role bridge composes for the others.
OTHERS = frozenset({"bridge_hosts", "bridge_litellm", "bridge_openwebui"})

_QUESTION = ("explain_user", "explain_model")
# What people write for an option whose name they remember in part, or nearly.
_SHORT = {
    "absent": ("bridge_state",),
    "approve": ("bridge_approve_ids",),
    "drift": ("bridge_status_drift",),
    "reject": ("bridge_reject_ids",),
    "since": ("bridge_audit_since",),
    "types": ("bridge_reconcile_types", "bridge_audit_types"),
    "until": ("bridge_pause_until", "bridge_audit_until"),
}

_LARGEST = 2**31 - 1
_RANGES = {
    "bridge_audit_limit": (1, 10000),
    "bridge_login_port": (0, 65535),
    "bridge_openwebui_login_port": (0, 65535),
    "bridge_monitoring_interval": (5, 3600),
    "bridge_migrate_batch_size": (1, MAX_BATCH),
    "bridge_migrate_max_seconds": (1, _LARGEST),
    "bridge_migrate_parallel": (1, MAX_PARALLEL),
    "bridge_postgres_litellm_connections": (1, 100000),
    "bridge_postgres_max_connections": (1, 262143),
    "bridge_postgres_openwebui_connections": (1, 100000),
}
_DATABASES = ("bridge_litellm_db", "bridge_openwebui_db", "bridge_maintenance_db")
_ROLES = (
    "bridge_litellm_owner",
    "bridge_openwebui_owner",
    "bridge_owner_role",
    "bridge_reader_role",
    "bridge_writer_role",
    "bridge_sync_user",
    "bridge_maintenance_user",
    "bridge_monitoring_user",
)
# Paths on the play's host.
_DIRECTORIES = (
    "bridge_monitoring_textfile_dir",
    "bridge_monitoring_collector_dir",
    "bridge_monitoring_rules_dir",
    "bridge_monitoring_dashboard_dir",
)
_LOGINS = ("bridge_login_user", "bridge_openwebui_login_user")
# PostgreSQL takes them, but units of systemd, password files or statements with parameters do not.
_NOT_IN_NAMES = re.compile(r'["%\\\x00-\x1f\x7f]')
_MOMENTS = ("bridge_pause_until", "bridge_audit_since", "bridge_audit_until")
_IDS = ("bridge_approve_ids", "bridge_reject_ids")
_URLS = ("bridge_litellm_url", "bridge_openwebui_url")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Words that people search for: nothing is refused in them.
_FREE_TEXT = ("bridge_audit_text", "bridge_migrate_email_pattern")
_UNIT_NAME = re.compile(r"[A-Za-z0-9:_.-]{1,100}")
# What units of systemd take without quotes.
_DIRECTORY = re.compile(r"(/[A-Za-z0-9._-]+)+/?")
# The server that a login goes to.
_SERVER = ("login_host", "login_port", "login_unix_socket")


class _Wrong(Exception):
    """Why a value cannot be used, as the end of a sentence that begins with the name."""


def is_secret(name: str) -> bool:
    """Whether a value must never be shown. No spec says so: ansible-core 2.18 cannot validate vaulted no_log values."""
    return name.endswith(("password", "litellm_key", "openwebui_token")) and not name.endswith("initial_password")


def unknown(names: Collection[str], known: Collection[str], allowed: Any) -> list[str]:
    """Names that nothing reads, each with the one that it was probably meant to be."""
    found = []
    for name in _not_allowed(set(names) - set(known) - OTHERS, allowed):
        meant = [each for each in _QUESTION if name == PREFIX + each]
        meant = meant or get_close_matches(name, sorted({*known, *OTHERS}), 1)
        found.append(
            f"{name} is no variable of this collection{f'; did you mean {meant[0]}?' if meant else '.'} If it is one of"
            " your own, give it another name or add it to bridge_allow_unknown."
        )
    return found


def unprefixed(extra: Collection[str], known: Collection[str], chosen: Collection[str], allowed: Any) -> list[str]:
    """Extra variables that would be options but for the prefix, unless that option has been chosen, too.

    Those of an inventory may be somebody else's.
    """
    meant = {name: _short(name) or (PREFIX + name,) for name in extra}
    taken = [name for name, options in meant.items() if set(options) <= set(known) and not set(options) & set(chosen)]
    return [
        f"{name} is an extra variable that this collection does not read; did you mean {' or '.join(meant[name])}?"
        " If it is one of your own, add it to bridge_allow_unknown."
        for name in _not_allowed(taken, allowed)
    ]


def _short(name: str) -> tuple[str, ...]:
    """Close enough that hardly anybody has a variable of his own with such a name: a pause must not last for ever."""
    return next((_SHORT[each] for each in get_close_matches(name, _SHORT, 1, 0.85)), ())


def half_a_question(names: Collection[str]) -> list[str]:
    """Who asks bridge_status why somebody sees a model names both."""
    asked = sorted(set(_QUESTION) & set(names))
    if len(asked) != 1:
        return []
    return [f"{asked[0]} is set alone: bridge_status explains a model to a person, so set {' and '.join(_QUESTION)}."]


def _not_allowed(names: Collection[str], allowed: Any) -> list[str]:
    try:
        patterns = [str(each) for each in parsed(allowed, "list")]
    except ValueError:
        patterns = []  # Reported by the check of its type.
    return sorted(name for name in names if not any(fnmatchcase(name, pattern) for pattern in patterns))


def wrong_values(values: Mapping[str, Any], options: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What is wrong with each value by itself and, if nothing is, with the values among each other."""
    found, read = [], {}
    for name, value in values.items():
        try:
            if isinstance(value, date) and name not in _MOMENTS:
                raise _Wrong("is a date, not text: put it in quotes")
            read[name] = converted(value, options[name], is_secret(name))
            _check_rules(name, read[name])
        except _Wrong as problem:
            found.append(f"{name} {problem}.")
    return found or _contradictions(read)


def converted(value: Any, option: Mapping[str, Any], secret: bool = False) -> Any:
    """A value as the type that its option has."""
    if value is None:
        raise _Wrong("is blank (null): leave it out for its default, or give it a value")
    kind = option["type"]
    if kind == "str":
        value = _text(value, option.get("choices"), secret)
    else:
        try:
            value = parsed(value, kind)
        except ValueError:
            raise _Wrong(f"is {_shown(value, secret)}, not {_expected(option)}") from None
    if kind == "list":
        entry = {**option, "type": option.get("elements", "str")}
        return [_part(each, entry, "has an entry that") for each in value]
    if kind == "dict" and "options" in option:
        return _suboptions(value, option)
    if "choices" in option and value not in option["choices"]:
        raise _Wrong(f"is {_shown(value, secret)}: it must be one of {', '.join(option['choices'])}")
    return value


_TYPES = {
    "bool": "a boolean: set it to true or false",
    "int": "a whole number: write it in digits",
    "float": "a number: write it in digits",
    "list": "a list: write it as a list, or as text with commas",
    "dict": "a dictionary: write it as a dictionary, or as text like ",
}


def _expected(option: Mapping[str, Any]) -> str:
    """The type of an option, and how to write it."""
    return _TYPES[option["type"]] + (_example(option) if option["type"] == "dict" else "")


def _example(option: Mapping[str, Any]) -> str:
    """A dictionary as text: the default, which has all keys that must be there."""
    return ",".join(f"{key}={value}" for key, value in (option.get("default") or {"name": "value"}).items())


def parsed(value: Any, kind: str) -> Any:
    """A bool, int, float, list or dict from a value of that type or from text; ValueError where it is none."""
    text = value.strip() if isinstance(value, str) else None
    if kind == "bool":
        try:
            return boolean(value)
        except TypeError as error:
            raise ValueError(str(error)) from None
    if kind in ("int", "float"):
        # Not by type(): a number of somebody's variables is of a class of Ansible's own.
        if isinstance(value, bool) or not isinstance(value, (int, str) if kind == "int" else (int, float, str)):
            raise ValueError(kind)
        return int(value) if kind == "int" else float(value)
    if kind == "list":
        if text is not None:
            names = [each.strip() for each in text.split(",")]
            return _json(text, list) if text.startswith("[") else [name for name in names if name]
        if isinstance(value, (list, tuple)):
            return list(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return [value]
        raise ValueError(kind)
    if isinstance(value, Mapping):
        return dict(value)
    if not text:
        raise ValueError(kind)
    try:
        return _json(text, dict) if text.startswith("{") else check_type_dict(text)
    except TypeError as error:
        raise ValueError(str(error)) from None


def _json(text: str, kind: type) -> Any:
    """JSON, or as Python and Ansible show such a value."""
    try:
        found = json.loads(text)
    except ValueError:
        found = json.loads(text.replace("'", '"'))
    if not isinstance(found, kind):
        raise ValueError(text)
    return found


def _text(value: Any, choices: Collection[str] | None, secret: bool) -> str:
    if isinstance(value, bool):
        # YAML reads on and off as booleans.
        meant = [choice for choice in choices or () if choice in (("yes", "on") if value else ("no", "off"))]
        if len(meant) != 1:
            raise _Wrong(f"is the boolean {str(value).lower()}, not text: put it in quotes")
        return meant[0]
    if isinstance(value, (Mapping, list, tuple)):
        raise _Wrong(f"is {'a dictionary' if isinstance(value, Mapping) else 'a list'}, not text")
    if isinstance(value, float):
        raise _Wrong("is a number with a fraction or an exponent, not text: put it in quotes")
    return str(value)


def _suboptions(value: Mapping[str, Any], option: Mapping[str, Any]) -> dict[str, Any]:
    options = option["options"]
    for key in value:
        if key not in options:
            raise _Wrong(f'has the key "{key}", but can have {", ".join(options)} only')
    for key, part in options.items():
        if part.get("required") and key not in value:
            raise _Wrong(f'lacks the key "{key}": write it like {_example(option)}')
    return {key: _part(each, options[key], f'has the key "{key}", which') for key, each in value.items()}


def _part(value: Any, option: Mapping[str, Any], begin: str) -> Any:
    """One entry of a list or dictionary."""
    try:
        return converted(value, option)
    except _Wrong as problem:
        raise _Wrong(f"{begin} {problem}") from None


def _shown(value: Any, secret: bool) -> str:
    return "a value" if secret else "empty" if value == "" else json.dumps(value, default=str, ensure_ascii=False)


def _check_rules(name: str, value: Any) -> None:
    """What the value has to be beyond its type."""
    if isinstance(value, str):
        _check_text(name, value)
    low, high = _RANGES.get(name, (None, None))
    if low is not None and not low <= value <= high:
        raise _Wrong(f"is {value}: it must be from {low} to {high}")
    if name in (*_DATABASES, *_ROLES, *_LOGINS):
        if not value:
            raise _Wrong("is empty: give it a name")
        if _NOT_IN_NAMES.search(value):
            raise _Wrong(
                f'is {_shown(value, False)}: a name must not have ", %, a backslash or control characters in it'
            )
        if len(value.encode("utf-8")) > 63:
            raise _Wrong(f"is {_shown(value, False)}: PostgreSQL cuts names after 63 bytes")
    if name in _ROLES and value.startswith("pg_"):
        raise _Wrong(f"is {_shown(value, False)}: PostgreSQL keeps names that begin with pg_ for itself")
    if name in _DIRECTORIES and value and not _DIRECTORY.fullmatch(value):
        raise _Wrong(
            f"is {_shown(value, False)}: give the directory by its whole path, of letters, digits, dots, _, - and /"
        )
    if name in _URLS and value:
        _check_url(value)
    if name in _MOMENTS and value:
        try:
            instant(name, value)
        except BridgeError:
            raise _Wrong(f"is {_shown(value, False)}, {NO_MOMENT}") from None
    if name in _IDS and not all(0 < each < 2**63 for each in value):
        raise _Wrong("has an entry that is no id: review_changes lists those that are held")
    if name == "bridge_maintenance_name" and not _UNIT_NAME.fullmatch(value):
        raise _Wrong(f"is {_shown(value, False)}: it must be 1 to 100 letters, digits, dots, colons, _ or -")


def _check_text(name: str, value: str) -> None:
    """What a block of YAML, a file or a form has put around a value, and files of passwords or units would break at."""
    if _CONTROL.search(value) and name not in _FREE_TEXT:
        remedy = ' (of "echo" into ansible-vault, use "printf %s")' if is_secret(name) else ""
        raise _Wrong(f"has a line break, a tab or another control character in it: leave it out{remedy}")
    if value != value.strip() and not is_secret(name) and name not in _FREE_TEXT:
        raise _Wrong(f"is {_shown(value, False)}: it must not begin or end with a space")


def _check_url(value: str) -> None:
    """Requests go to paths below it; nothing of it is shown, for what is wrong can be a secret."""
    try:
        parts = urlsplit(value)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or re.search(r"\s", value):
        raise _Wrong("is no address: write it like http://127.0.0.1:4000")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise _Wrong("must have no login, no ? and no # in it: write it like http://127.0.0.1:4000")


def _contradictions(read: Mapping[str, Any]) -> list[str]:
    given = {name: _at(read, path) for name, path in VARIABLES.items()}
    known = {name: value for name, value in given.items() if value is not None}
    found = [f"{problem}." for problem in settings_check.problems(known, VARIABLES.__getitem__)]
    if read.get("bridge_litellm_url") and not read.get("bridge_litellm_key"):
        found.append(
            "bridge_litellm_url is set and bridge_litellm_key is not: give a virtual key of LiteLLM's that may list "
            "all models, from a vault, or leave both out."
        )
    if read.get("bridge_openwebui_password") and read.get("bridge_openwebui_token"):
        found.append(
            "bridge_openwebui_password and bridge_openwebui_token are both set: verify_access signs in with one of "
            "them, so leave the other one out."
        )
    if _is_one_database(read):
        found.append(
            f'bridge_litellm_db and bridge_openwebui_db are both "{read["bridge_litellm_db"]}" on the same server: the '
            "two programs need a database each."
        )
    return found + _monitoring(read)


def _monitoring(read: Mapping[str, Any]) -> list[str]:
    """What a login needs that only reads metrics."""
    if not read.get("bridge_monitoring"):
        return []
    found, name = [], read.get("bridge_monitoring_user")
    same = [other for other in (*_ROLES, *_LOGINS) if other != "bridge_monitoring_user" and read.get(other) == name]
    if same:
        found.append(
            f'bridge_monitoring_user is "{name}", as is {same[0]}: the login that reads the metrics must be a role of '
            "its own, which may do nothing else."
        )
    if (
        read.get("bridge_monitoring_textfile_dir")
        and not read.get("bridge_monitoring_password")
        and not read.get("bridge_login_become_user")
    ):
        found.append(
            "bridge_monitoring_textfile_dir needs a login on this host: set bridge_monitoring_password, or run the "
            "play on the database's host with bridge_login_become_user."
        )
    return found


def _at(read: Mapping[str, Any], path: str) -> Any:
    variable, dot, key = path.partition(".")
    return read.get(variable, {}).get(key) if dot else read.get(variable)


def _is_one_database(read: Mapping[str, Any]) -> bool:
    same = all(read.get(f"{PREFIX}{name}") == read.get(f"{PREFIX}openwebui_{name}") for name in _SERVER)
    database = read.get("bridge_litellm_db")
    return same and database is not None and database == read.get("bridge_openwebui_db")
