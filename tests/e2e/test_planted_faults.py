# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""These tests can fail: faults, planted one by one into the shipped SQL, are caught by the check meant for them.

tests/integration/test_faults.py catches most of them in SQL; here they must be seen over HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e import test_litellm, test_people
from e2e.company import Company
from e2e.site import TARGET_TIMEOUT_MS, Site
from kit.bridge import install_bridge
from kit.pairs import PROGRAM_ROLES
from test_faults import FAULTS

pytestmark = pytest.mark.weekly

Check = Callable[[Company, Path], None]
SETTINGS = {"target_timeout_ms": TARGET_TIMEOUT_MS}
WRITER = PROGRAM_ROLES["openwebui"]
# Of the triggers on one table; its users get to Open WebUI by none of the others.
_TRIGGER = (
    'CREATE TRIGGER user_bridge_enqueue AFTER INSERT OR UPDATE OR DELETE ON public."LiteLLM_UserTable"\n'
    "    FOR EACH ROW EXECUTE FUNCTION user_bridge.on_user_change();"
)
_PLACES: Mapping[str, tuple[str, str, str]] = {
    **{fault.name: (fault.path, fault.old, fault.new) for fault in FAULTS},
    "dropped trigger": ("engine/litellm/triggers.sql.j2", _TRIGGER, ""),
    "settings overwritten": (
        "entities/user/openwebui/apply.sql.j2",
        "SET name = p_want",
        "SET settings = NULL, name = p_want",
    ),
    "password overwritten": (
        "entities/user/openwebui/sign_in.sql.j2",
        "IF v_now.id IS NULL THEN",
        "UPDATE public.auth AS a SET password = '' WHERE a.id = v_id; IF v_now.id IS NULL THEN",
    ),
    "chats deleted": (
        "entities/user/openwebui/retire.sql.j2",
        "DELETE FROM public.auth AS",
        "DELETE FROM public.chat WHERE user_id = p_account; DELETE FROM public.auth AS",
    ),
}


@dataclass(frozen=True)
class Planted:
    """`rights` are what the bridge would have to be granted for this fault to do its harm."""

    name: str
    caught_by: Check
    rights: str = ""


PLANTED = [
    Planted(
        "dropped trigger", lambda company, _: test_litellm.TestUsers().test_who_is_switched_off_and_on_again(company)
    ),
    Planted("auth row not written", lambda company, _: test_litellm.TestUsers().test_a_new_user(company)),
    Planted(
        "email not lower-cased",
        lambda company, _: test_people.TestSignIn().test_an_email_that_was_typed_in_capitals(company.site),
    ),
    Planted("role map ignored", lambda company, _: test_litellm.TestUsers().test_more_models_and_another_role(company)),
    Planted(
        "scim_active ignored",
        lambda company, _: test_litellm.TestUsers().test_who_is_switched_off_and_on_again(company),
    ),
    Planted(
        "auth not switched off",
        lambda company, _: test_litellm.TestUsers().test_who_is_switched_off_and_on_again(company),
    ),
    Planted("a deleted user's account stays", lambda company, _: test_litellm.TestUsers().test_who_is_deleted(company)),
    Planted(
        "a group's members by the group's own id",
        lambda company, _: test_people.TestAdminPages().test_name_role_and_memberships(company.site),
    ),
    Planted("members who left stay", lambda company, _: test_litellm.TestTeams().test_joining_and_leaving(company)),
    Planted(
        "name not refreshed",
        lambda company, _: test_litellm.TestTeams().test_new_models_a_new_name_and_the_end(company),
    ),
    Planted("team alias left out of the name", lambda company, _: test_litellm.TestUsers().test_a_new_user(company)),
    Planted(
        "created_at from long ago",
        lambda company, _: test_people.TestAdminPages().test_the_other_pages_that_read_these_rows(company.site),
    ),
    Planted(
        "settings overwritten",
        lambda company, tmp_path: (
            test_people.TestWhatIsThePersons().test_settings_chats_and_password_survive_every_sync(
                company.site, tmp_path
            )
        ),
    ),
    Planted(
        "password overwritten",
        lambda company, _: test_people.TestWhatIsThePersons().test_an_adopted_account_keeps_its_password_and_chats(
            company.site
        ),
    ),
    Planted(
        "adopted account deleted",
        lambda company, _: test_people.TestWhatIsThePersons().test_an_adopted_account_keeps_its_password_and_chats(
            company.site
        ),
    ),
    Planted(
        "chats deleted",
        lambda company, _: test_people.TestWhatIsThePersons().test_who_is_deleted_and_comes_back_finds_the_chats_again(
            company.site
        ),
        rights="SELECT, DELETE ON public.chat",
    ),
]


@contextmanager
def planted(site: Site, fault: Planted) -> Iterator[None]:
    """The deployed bridge with this fault; afterwards without it, and without the people who suffered it."""
    where, old, new = _PLACES[fault.name]
    before = len(site.people)

    def plant(path: str, sql: str) -> str:
        assert path != where or old in sql, f"{where} has changed: plant this fault anew"
        return sql.replace(old, new) if path == where else sql

    install_bridge(site.pair, SETTINGS, mutate=plant)
    if fault.rights:
        site.pair.openwebui_admin.run(f"GRANT {fault.rights} TO {WRITER}")
    try:
        yield
    finally:
        install_bridge(site.pair, SETTINGS)
        if fault.rights:
            site.pair.openwebui_admin.run(f"REVOKE {fault.rights} FROM {WRITER}")
        emails = [person.email for person in site.people[before:]]
        for table in ("user", "auth"):
            site.pair.openwebui.run(f'DELETE FROM "{table}" WHERE lower(email) = ANY (%s)', [emails])


@pytest.mark.parametrize("fault", PLANTED, ids=lambda fault: fault.name)
def test_a_planted_fault_is_caught(company: Company, tmp_path: Path, fault: Planted) -> None:
    with planted(company.site, fault):
        before = failures(company.site)
        with pytest.raises(AssertionError):
            fault.caught_by(company, tmp_path)
        # SQL that no longer runs would be caught by anything: the faulty bridge must believe that all is well.
        assert failures(company.site) == before


def failures(site: Site) -> tuple[int, int]:
    """Deliveries that failed, and such as wait for another attempt."""
    audit = "SELECT count(*) FROM user_bridge.sync_audit WHERE sync_result = 'FAILED'"
    queue = "SELECT count(*) FROM user_bridge.sync_queue"
    return site.pair.litellm_admin.value(audit), site.pair.litellm_admin.value(queue)
