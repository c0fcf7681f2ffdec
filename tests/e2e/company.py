# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bridged installation whose LiteLLM runs, too, and is administered over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e import litellm_server
from e2e import webui_api as api
from e2e.litellm_server import Proxy
from e2e.site import Person, Site
from kit.common import version_key

# As in the examples of the README of the project that this one takes over from.
MODEL, OTHER_MODEL = "qwen3-omni-30b-thinking", "gpt-4-turbo"


@dataclass(frozen=True)
class Company:
    """`site` and its LiteLLM."""

    site: Site
    litellm: Proxy

    @property
    def organizations_are_free(self) -> bool:
        """From 1.102.0 on they are a matter of the enterprise licence."""
        return version_key(self.litellm.version) < (1, 102)

    def hire(self, name: str, **fields: Any) -> Person:
        person = self.site.invent(name)
        self.litellm.post(
            "/user/new",
            **{"user_id": person.user_id, "user_alias": name, "user_email": person.email, "user_role": "internal_user"},
            **fields,
        )
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


@contextmanager
def opened(site: Site, home: Path) -> Iterator[Company]:
    """LiteLLM starts, and gets two models."""
    with litellm_server.running(site.age, site.pair.login("litellm"), home, site.output / "litellm.log") as proxy:
        for model in (MODEL, OTHER_MODEL):
            upstream = {"model": f"openai/{model}", "api_base": site.provider.url, "api_key": "dummy"}
            prices = {"input_cost_per_token": 0.001, "output_cost_per_token": 0.001}
            proxy.post("/model/new", model_name=model, litellm_params={**upstream, **prices})
        yield Company(site, proxy)
