# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from the declaration of the settings, roles/triggers/templates/settings.yml, as text."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

from kit.common import REPO

DECLARATION = REPO / "roles" / "triggers" / "templates" / "settings.yml"
ROLES = ("bridge", "triggers", "sync_user")
NOTICE = 'Written by "make generate" from roles/triggers/templates/settings.yml.'
# Of the type integer.
LARGEST = 2**31 - 1
# What came with it is not said to have been added.
FIRST_RELEASE = "1.0.0"
_WIDTH = 120
LICENCE = """\
# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
_PRIVATE = "This {kind} is PRIVATE to the collection. It can have breaking changes at any time."
_OTHER = re.compile(r"S\((\w+)\)")
_KNOWN = {
    *(
        "type",
        "elements",
        "options",
        "default",
        "choices",
        "minimum",
        "maximum",
        "pattern",
        "pattern_text",
        "may_be_empty",
        "unequal_to",
        "roles",
    ),
    *("variable", "key", "openwebui", "shapes_rows", "version_added", "description"),
}


class Declaration(NamedTuple):
    settings: Mapping[str, Mapping[str, Any]]
    """By name, in the order in which they are shown."""
    dicts: Mapping[str, str]
    """Description of each option that carries several settings."""


def read(text: str) -> Declaration:
    """Parse a declaration; a misspelt attribute would silently have no effect, so it is an error."""
    data = yaml.safe_load(text)
    for name, setting in data["settings"].items():
        if unknown := set(setting) - _KNOWN:
            raise ValueError(f"setting {name}: unknown attribute {', '.join(sorted(unknown))}")
    return Declaration(data["settings"], data["dicts"])


def declared() -> Declaration:
    return read(DECLARATION.read_text(encoding="utf-8"))


# ---- roles -----------------------------------------------------------------------------------------------


def argument_spec(declaration: Declaration, role: str) -> str:
    """The settings' options in meta/argument_specs.yml."""
    options: dict[str, Any] = {}
    for variable, settings in _variables(declaration, role).items():
        if variable in declaration.dicts:
            options[f"{role}_{variable}"] = {
                "description": declaration.dicts[variable],
                "type": "dict",
                "options": {
                    setting["key"]: {**_option(declaration, setting, role), "required": True}
                    for setting in settings.values()
                },
            }
        else:
            ((_name, setting),) = settings.items()
            options[f"{role}_{variable}"] = _option(declaration, setting, role)
        if role == "bridge":
            options[f"{role}_{variable}"]["default"] = _default(declaration, variable, settings)
    return _yaml(options, indent=6)


def role_defaults(declaration: Declaration, role: str) -> str:
    """The settings' variables in defaults/main.yml."""
    return _yaml(
        {
            f"{role}_{variable}": _default(declaration, variable, settings)
            if role == "bridge"
            else f"{{{{ bridge_{variable} }}}}"
            for variable, settings in _variables(declaration, role).items()
        }
    )


def role_values(declaration: Declaration) -> str:
    """What the role triggers hands to bridge_install."""
    values = {name: f"{{{{ {_read(name, setting)} }}}}" for name, setting in declaration.settings.items()}
    return _yaml({"__triggers_settings": values})


def _read(name: str, setting: Mapping[str, Any]) -> str:
    """The value in a template. Surveys hand on lists and dictionaries as text."""
    if "key" in setting:
        return f"(triggers_{setting['variable']} | llmops.user_bridge.parsed('dict')).{setting['key']}"
    parsed = f" | llmops.user_bridge.parsed('{setting['type']}')" if setting["type"] in ("dict", "list") else ""
    return f"triggers_{name}{parsed}"


def path(name: str, setting: Mapping[str, Any]) -> str:
    """The role variable behind its prefix, with the key where it is a dict."""
    return f"{setting['variable']}.{setting['key']}" if "variable" in setting else name


def _variables(declaration: Declaration, role: str) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Variables of a role, without the prefix, and the settings that each carries."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for name, setting in declaration.settings.items():
        if role in ("bridge", *setting.get("roles", ("triggers",))):
            found.setdefault(setting.get("variable", name), {})[name] = setting
    return found


def _default(declaration: Declaration, variable: str, settings: Mapping[str, Mapping[str, Any]]) -> Any:
    if variable in declaration.dicts:
        return {setting["key"]: setting["default"] for setting in settings.values()}
    return next(iter(settings.values()))["default"]


def _option(declaration: Declaration, setting: Mapping[str, Any], role: str) -> dict[str, Any]:
    def other(match: re.Match[str]) -> str:
        return f"O({role}_{path(match[1], declaration.settings[match[1]])})"

    option = {"description": _OTHER.sub(other, _description(setting)), "type": setting["type"]}
    return {**option, **{key: setting[key] for key in ("choices", "elements", "options") if key in setting}}


def _added(setting: Mapping[str, Any]) -> dict[str, str]:
    """The release that brought an option, for its documentation."""
    since = setting.get("version_added", FIRST_RELEASE)
    return {} if since == FIRST_RELEASE else {"version_added": since}


def _description(setting: Mapping[str, Any]) -> str:
    if "maximum" in setting:
        bounds = f" From {setting['minimum']} to {setting['maximum']}."
    elif "minimum" in setting:
        bounds = f" At least {setting['minimum']}."
    else:
        bounds = f" Must be {setting['pattern_text']}." if "pattern" in setting else ""
    return f"{setting['description']}{bounds}"


# ---- the module bridge_install ---------------------------------------------------------------------------


def doc_fragment(declaration: Declaration) -> str:
    """plugins/doc_fragments/_settings.py"""
    suboptions = {
        name: {
            "description": _OTHER.sub(r"O(settings.\1)", _description(setting)),
            **{key: setting[key] for key in ("type", "elements", "choices") if key in setting},
            **_added(setting),
            **({"suboptions": setting["options"]} if "options" in setting else {}),
        }
        for name, setting in declaration.settings.items()
    }
    documentation = _yaml(
        {
            "options": {
                "settings": {
                    "description": "Settings of the bridge. With O(side=openwebui) those that this side acts by are "
                    "stored, and the others ignored. Omitted ones keep their value.",
                    "type": "dict",
                    "suboptions": suboptions,
                }
            }
        }
    )
    return f'''{LICENCE}
"""Doc fragment for the settings that bridge_install stores.

{NOTICE}
{_PRIVATE.format(kind="doc fragment")}
"""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
{documentation}"""
'''


def module_spec(declaration: Declaration) -> str:
    """plugins/module_utils/_settings/declared.py"""
    spec, ranges, patterns, unequal, variables = {}, {}, {}, {}, {}
    shared = "\n".join(f'    "{name}",' for name, setting in declaration.settings.items() if setting.get("openwebui"))
    for name, setting in declaration.settings.items():
        spec[name] = {key: setting[key] for key in ("type", "elements", "choices") if key in setting}
        if "options" in setting:
            spec[name]["options"] = {
                option: {key: value for key, value in declared.items() if key != "description"}
                for option, declared in setting["options"].items()
            }
        if "password" in name and setting["type"] != "bool" and "choices" not in setting:
            # By its name alone AnsibleModule takes it for a secret.
            spec[name]["no_log"] = False
        if "minimum" in setting:
            ranges[name] = (setting["minimum"], setting.get("maximum", LARGEST))
        if "pattern" in setting:
            patterns[name] = (setting["pattern"], setting["pattern_text"])
        if "unequal_to" in setting:
            unequal[name] = setting["unequal_to"]
        variables[name] = f"bridge_{path(name, setting)}"
    return f'''{LICENCE}
"""The bridge's settings: their types and allowed values.

{NOTICE}
{_PRIVATE.format(kind="module_utils")}
"""

from __future__ import annotations

from typing import Any

# Suboptions of bridge_install's option settings.
SPEC: dict[str, dict[str, Any]] = {_python(spec)}

# Smallest and largest value.
RANGES: dict[str, tuple[int, int]] = {_python(ranges)}

# Regular expression for the whole value, and what it says.
PATTERNS: dict[str, tuple[str, str]] = {_python(patterns)}

# Settings that must have another value than the one named.
UNEQUAL: dict[str, str] = {_python(unequal)}

# What Open WebUI's side stores, too.
OPENWEBUI: tuple[str, ...] = (
{shared}
)

# The role variable that sets it.
VARIABLES: dict[str, str] = {_python(variables)}
'''


# ---- text ------------------------------------------------------------------------------------------------


class _Dumper(yaml.SafeDumper):
    """Short lists on one line, long texts folded, as the rest of the collection has it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style='"' if "{{" in text else ">" if len(text) > 100 else None
    ),
)
_Dumper.add_representer(
    list, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)
)


def _yaml(data: Any, indent: int = 0) -> str:
    # PyYAML breaks a line after the word that crosses the width.
    text = yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=104 - indent, default_flow_style=False)
    return textwrap.indent(text, " " * indent)


def _python(table: Mapping[str, Any]) -> str:
    """A dict with one line for each entry, and more for one that is too long for a line."""
    lines = (
        f"    {json.dumps(name)}: {_fitted(value, 4, len(json.dumps(name)) + 3)},\n" for name, value in table.items()
    )
    return "{\n" + "".join(lines) + "}"


def _fitted(value: Any, indent: int, before: int) -> str:
    """As the formatter has it: on one line where that fits, behind `before` characters and in front of a comma."""
    text = _literal(value)
    if indent + before + len(text) <= _WIDTH or not isinstance(value, (dict, list, tuple)):
        return text
    names = [f"{json.dumps(key)}: " for key in value] if isinstance(value, dict) else [""] * len(value)
    values = value.values() if isinstance(value, dict) else value
    pad = " " * (indent + 4)
    lines = [
        f"{pad}{name}{_fitted(each, indent + 4, len(name) + 1)},\n" for name, each in zip(names, values, strict=True)
    ]
    return f"{text[0]}\n{''.join(lines)}{' ' * indent}{text[-1]}"


def _literal(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        items = ", ".join(map(_literal, value))
        return f"[{items}]" if isinstance(value, list) else f"({items})"
    return repr(value) if isinstance(value, (bool, int, float)) else json.dumps(value)
