# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bridged installation whose LiteLLM runs, too, and is administered over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2e import litellm_server
from e2e import webui_api as api
from e2e.litellm_server import Proxy
from e2e.site import Person, Site
from kit.common import version_key

# As in the examples of the README of the project that this one takes over from.
MODEL, OTHER_MODEL = "qwen3-omni-30b-thinking", "gpt-4-turbo"
# By which Open WebUI says who asks.
EMAIL_HEADER = "X-OpenWebUI-User-Email"
# For how long LiteLLM goes on with what it has read of end users, among others; 60 unless it is told so.
LITELLM_CACHE_SECONDS = 2
# For how long Open WebUI goes on with the connections' list of before.
OPENWEBUI_CACHE_SECONDS = 10
# What a machine that has much else to do may take besides.
BUSY_SECONDS = 30
# As docs/access.md has it: whom LiteLLM decides for, and on whom it books.
_MAPPINGS = [{"header_name": EMAIL_HEADER, "litellm_user_role": role} for role in ("customer", "internal_user")]


@dataclass(frozen=True)
class Company:
    """`site` and its LiteLLM. `key` is that of Open WebUI's connection, which all people share."""

    site: Site
    litellm: Proxy
    key: str = field(repr=False)

    @property
    def organizations_are_free(self) -> bool:
        """From 1.102.0 on they are a matter of the enterprise licence."""
        return version_key(self.litellm.version) < (1, 102)

    def new_model(self, name: str, **info: Any) -> str:
        """Served by the site's provider; its id."""
        upstream = {"model": f"openai/{name}", "api_base": self.site.provider.url, "api_key": "dummy"}
        prices = {"input_cost_per_token": 0.001, "output_cost_per_token": 0.001}
        made = self.litellm.post("/model/new", model_name=name, litellm_params={**upstream, **prices}, model_info=info)
        return str(made["model_id"])

    def await_listed(self, model: str) -> None:
        """Until Open WebUI knows it."""
        deadline = time.monotonic() + OPENWEBUI_CACHE_SECONDS + BUSY_SECONDS
        while model not in api.models(self.site.admin):
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def hire(self, who: str | Person, **fields: Any) -> Person:
        """Somebody of this name, or exactly this person."""
        person = self.site.invent(who) if isinstance(who, str) else who
        names = {"user_id": person.user_id, "user_alias": person.name, "user_email": person.email}
        self.litellm.post("/user/new", **names, user_role="internal_user", **fields)
        return person

    def new_team(self, alias: str, **fields: Any) -> str:
        """Its id."""
        return str(self.litellm.post("/team/new", team_alias=alias, **fields)["team_id"])

    def new_organization(self, alias: str) -> str:
        """Its id."""
        made = self.litellm.post("/organization/new", organization_alias=alias, models=[MODEL, OTHER_MODEL])
        return str(made["organization_id"])

    def join(self, team: str, person: Person) -> None:
        self.litellm.post("/team/member_add", team_id=team, member={"role": "user", "user_id": person.user_id})

    def row(self, person: Person) -> dict[str, Any]:
        """The person as the admin's page has them."""
        return self.site.look()[0][person.email]

    def groups(self) -> dict[str, str]:
        """Id to name, as the admin's page has them."""
        return {id_: row["name"] for id_, row in self.site.look()[1].items()}

    def members(self, group: str) -> list[str]:
        return api.members(self.site.admin, group)

    def keys(self, person: Person) -> dict[str | None, list[str]]:
        """Alias to models of the keys that the bridge maps to the person's account."""
        rows = self.site.pair.litellm_admin.rows(
            "SELECT sync_data FROM user_bridge.sync_mapping WHERE litellm_type = 'api_key' AND openwebui_id = %s",
            [person.account_id],
        )
        return {row["sync_data"]["key_alias"]: row["sync_data"]["models"] for row in rows}


def config(mappings: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """What LiteLLM's configuration file has for these user_header_mappings."""
    settings = {"user_header_mappings": list(mappings), "user_api_key_cache_ttl": LITELLM_CACHE_SECONDS}
    return {"general_settings": settings}


@contextmanager
def opened(site: Site, home: Path) -> Iterator[Company]:
    """LiteLLM starts, gets two models, and becomes a connection of Open WebUI's with a key that all people share."""
    log = site.output / "litellm.log"
    with litellm_server.running(site.age, site.pair.login("litellm"), home, log, config(_MAPPINGS)) as proxy:
        company = Company(site, proxy, proxy.post("/key/generate", key_alias="Open WebUI")["key"])
        for model in (MODEL, OTHER_MODEL):
            company.new_model(model)
        api.add_connection(site.admin, f"{proxy.url}/v1", company.key)
        yield company
