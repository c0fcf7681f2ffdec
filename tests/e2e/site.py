# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One installation as people have it: both databases, the deployed bridge, Open WebUI, and its first admin."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2e import provider, webui_api, webui_server
from e2e.provider import Provider
from e2e.webui_api import Visitor
from e2e.webui_server import SSO_HEADER, Server
from kit import litellm, pairs
from kit.cluster import Cluster
from kit.common import version_key
from kit.pairs import Pair
from playbooks_support import deploy

MODEL, TEAM_MODEL = provider.MODELS
# How long a delivery may take on a machine with much else to do is not what these tests are about.
TARGET_TIMEOUT_MS = 20_000


@dataclass(frozen=True)
class Person:
    """A LiteLLM user."""

    user_id: str
    email: str
    name: str
    prefix: str = "usr_"

    @property
    def account_id(self) -> str:
        """Of the account that the bridge makes; an adopted one keeps its own."""
        return f"{self.prefix}{self.user_id}"


def organization_group(organization_id: str) -> str:
    return f"grp_{organization_id}"


def team_group(team_id: str) -> str:
    return f"grp_team_{team_id}"


@dataclass(eq=False)
class Site:
    """`server` is where people sign in with a password, `sso` another process of the same installation, behind SSO.

    `age` is old or new: that of both programs.
    """

    age: str
    pair: Pair
    server: Server
    sso: Server
    provider: Provider
    admin: Visitor
    output: Path
    numbers: Iterator[int] = field(default_factory=itertools.count)
    people: list[Person] = field(default_factory=list)

    @property
    def version(self) -> tuple[int, ...]:
        return version_key(self.server.version)

    @property
    def can_end_sessions(self) -> bool:
        """Open WebUI 0.12.0 looks at the auth row at every request."""
        return self.version >= (0, 12)

    def deploy(self, folder: Path, *, real: bool = True, **settings: Any) -> None:
        """The shipped playbook; `folder` is for what Ansible writes. `real`: as a process of its own."""
        deploy(self.pair, folder, real=real, bridge_target_timeout_ms=TARGET_TIMEOUT_MS, **settings)

    def invent(self, name: str = "Grace Hopper") -> Person:
        """Somebody whom neither program knows yet. Other tests can have people of the same name."""
        slug = f"{re.sub('[^a-z]+', '.', name.lower())}-{next(self.numbers)}"
        self.people.append(Person(slug, f"{slug}@example.com", name))
        return self.people[-1]

    def hire(self, who: str | Person = "Grace Hopper", role: str = "internal_user") -> Person:
        """A new user, made in LiteLLM: somebody of this name, or exactly this person."""
        person = self.invent(who) if isinstance(who, str) else who
        litellm.new_user(self.pair.litellm, person.user_id, person.email, person.name, role)
        return person

    def add_account(self, person: Person, password: str, *, before_the_bridge: bool = False) -> str:
        """One that an admin makes in Open WebUI, for somebody whom LiteLLM does not know yet; its id."""
        account = webui_api.add_account(self.admin, "By Hand", person.email, password)
        if before_the_bridge:
            self.pair.openwebui.run('UPDATE "user" SET created_at = created_at - 86400 WHERE id = %s', [account])
        return account

    def new_organization(self, alias: str) -> str:
        """Its id."""
        organization_id = f"org-{next(self.numbers)}"
        litellm.new_organization(self.pair.litellm, organization_id, alias)
        return organization_id

    def new_team(self, alias: str, organization_id: str | None = None) -> str:
        """Its id."""
        team_id = f"team-{next(self.numbers)}"
        litellm.new_team(self.pair.litellm, team_id, alias, organization_id)
        return team_id

    def disable(self, person: Person) -> None:
        """What LiteLLM's SCIM endpoint writes for active=false."""
        litellm.update_user(self.pair.litellm, person.user_id, metadata={"scim_active": False})

    def enable(self, person: Person) -> None:
        litellm.update_user(self.pair.litellm, person.user_id, metadata={"scim_active": True})

    def try_password(self, email: str, password: str) -> Visitor | None:
        """None: refused."""
        return webui_api.sign_in(self.server.url, self.server.version, email, password)

    def try_sso(self, email: str) -> Visitor | None:
        """None: refused. Open WebUI makes an account for an email that it does not know."""
        return webui_api.sign_in_by_header(self.sso.url, self.sso.version, SSO_HEADER, email)

    def sign_in(self, person: Person, password: str | None = None) -> Visitor:
        """With the initial password, which is the email, unless another one is given."""
        visitor = self.try_password(person.email, password or person.email)
        assert visitor is not None, f"{person} cannot sign in"
        return visitor

    def look(self) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
        """Email to user and id to group, as the admin's pages show them."""
        return webui_api.users_page(self.admin), webui_api.groups_page(self.admin)


@contextmanager
def opened(cluster: Cluster, age: str, folder: Path, output: Path) -> Iterator[Site]:
    """From nothing to a bridged installation, in the order in which people do it."""
    with (
        pairs.pair_before_first_start(cluster, litellm=age, openwebui=age) as pair,
        provider.running() as models,
        _starting(pair, models, folder / "server", output / "open-webui.log") as server,
    ):
        server.wait()
        first = pair.admin
        admin = webui_api.sign_up(server.url, server.version, first.name, first.email, first.password)
        webui_api.offer_model(admin, MODEL)
        with _starting(pair, models, folder / "sso", output / "open-webui-sso.log", sso=True) as sso:
            site = Site(age, pair, server, sso, models, admin, output)
            site.deploy(folder)
            sso.wait()
            yield site


@contextmanager
def _starting(pair: Pair, models: Provider, home: Path, log: Path, *, sso: bool = False) -> Iterator[Server]:
    settings: Mapping[str, str] = {"WEBUI_AUTH_TRUSTED_EMAIL_HEADER": SSO_HEADER} if sso else {}
    settings = {"DATABASE_URL": pair.login("openwebui").url, "OPENAI_API_BASE_URL": models.url, **settings}
    with webui_server.starting(pair.openwebui_version, settings, home, log) as server:
        yield server
