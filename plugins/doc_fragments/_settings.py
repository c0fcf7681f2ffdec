# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Doc fragment for the settings that bridge_install stores.

Written by "make generate" from roles/triggers/templates/settings.yml.
This doc fragment is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  settings:
    description: >-
      Settings of the bridge. With O(side=openwebui) those that this side acts by are stored, and the others
      ignored. Omitted ones keep their value.
    type: dict
    suboptions:
      delivery:
        description: >-
          When changes are delivered. V(commit) delivers when LiteLLM's transaction commits; while others
          deliver, too, and a drainer lives, it leaves them to the drainer, which delivers within half a second.
          V(inline) delivers when the transaction commits, whatever others do. V(queued) leaves everything
          to the drainer.
        type: str
        choices: [commit, queued, inline]
      target_timeout_ms:
        description: Maximum time in milliseconds that a delivery may delay a COMMIT of LiteLLM. From 100
          to 60000.
        type: int
      backoff_seconds:
        description: >-
          Seconds during which a COMMIT only queues after a failed delivery, so that an outage of Open WebUI
          costs LiteLLM one timeout. From 1 to 3600.
        type: int
      inline_limit:
        description: >-
          Maximum number of entities that a COMMIT delivers. A larger transaction is left to the drainer.
          From 1 to 10000.
        type: int
      sync_connection_limit:
        description: >-
          Number of connections that LiteLLM's server may keep to Open WebUI's database; it is the sync user's
          C(CONNECTION LIMIT). Sessions of LiteLLM that get none leave their changes to the drainer. 0 lets
          the deployment compute it from C(max_connections) and the sizes of both programs' pools. From 0
          to 10000.
        type: int
      removal_accounts:
        description: Number of accounts that may be removed within ten minutes without approval. At least
          0.
        type: int
      removal_percent:
        description: The same limit as a percentage of all accounts. The larger of the two applies. From 0
          to 100.
        type: float
      audit_retention_days:
        description: Days after which entries of C(sync_audit) are deleted. At least 1.
        type: int
      user_id_prefix:
        description: >-
          Prefix of an Open WebUI user id; LiteLLM's user id follows. Empty, the two are the same, by which
          LiteLLM can book what somebody spends on the user. Accounts that there are keep their ids. Must
          be up to 32 letters, digits, dots, colons, underscores or hyphens.
        type: str
      group_id_prefix:
        description: >-
          Prefix of the group id of an organization; LiteLLM's organization id follows. Must be 1 to 32 letters,
          digits, dots, colons, underscores or hyphens.
        type: str
      team_group_id_prefix:
        description: >-
          Prefix of the group id of a team; LiteLLM's team id follows. Must be 1 to 32 letters, digits, dots,
          colons, underscores or hyphens.
        type: str
      team_groups:
        description: Create a group for each team.
        type: bool
      role_map:
        description: >-
          Open WebUI role V(admin), V(user) or V(pending) by LiteLLM role. Read-only roles (C(*_viewer)) cannot
          become V(admin). Roles that are not listed get O(settings.default_role).
        type: dict
      default_role:
        description: Open WebUI role of users whose LiteLLM role is not in O(settings.role_map).
        type: str
        choices: [user, pending]
      adopt_existing:
        description: >-
          Link an existing Open WebUI account that has the same email address. Otherwise such a user is skipped.
        type: bool
      on_user_delete:
        description: >-
          What happens to the Open WebUI account of a user deleted in LiteLLM. Adopted accounts are disabled,
          never deleted. One that is kept loses what LiteLLM gave, the admin role included.
        type: str
        choices: [delete, disable, keep]
      initial_password:
        description: >-
          Initial password of an account that the bridge creates. With V(email) users sign in with their email
          address as password until it expires. V(none) suits single sign-on.
        type: str
        choices: [email, random, none]
      initial_password_admins:
        description: Apply V(email) of O(settings.initial_password) to admins as well.
        type: bool
      initial_password_ttl_hours:
        description: Hours after which an unchanged initial password is disabled. At least 1.
        type: int
      password_cost:
        description: >-
          Cost factor of the bcrypt hash of initial passwords. Each step doubles its time. The drainer hashes
          them, within a second; where none lives, LiteLLM's COMMIT does, and O(settings.target_timeout_ms)
          bounds it. From 4 to 16.
        type: int
      api_keys:
        description: >-
          How LiteLLM's keys are treated. V(mapping) records which user has which usable key. V(mirror) also
          copies the stored hash into Open WebUI, which grants nothing there. V(off) ignores keys.
        type: str
        choices: [mapping, mirror, 'off']
      model_access:
        description: >-
          Let everybody see in Open WebUI the models that LiteLLM grants, and no others. V(false) takes away
          what the bridge granted.
        type: bool
      model_policy:
        description: >-
          Which models somebody sees. V(assigned): those of the teams, of the personal list and of lists of
          usable keys; an empty personal list counts as O(settings.model_unassigned) says. V(effective): whatever
          LiteLLM would serve in any way, to the letter, so an empty personal list means all. V(teams), V(user),
          V(keys): only what comes from teams, from the personal list, or from usable keys.
        type: str
        choices: [assigned, effective, teams, user, keys]
      model_unassigned:
        description: >-
          What somebody sees, with O(settings.model_policy) V(assigned), who is in no team, has an empty personal
          list and owns no key with a list. V(all) is what such a list means in LiteLLM.
        type: str
        choices: [all, none]
      models_for_everyone:
        description: Models that every account of the bridge may see, such as the one that writes the titles
          of chats.
        type: list
        elements: str
      extra_models:
        description: >-
          Models that only LiteLLM's configuration file knows. Models that are not in the database and not
          listed here stay hidden.
        type: list
        elements: dict
        suboptions:
          name:
            type: str
            required: true
            description: Name under which LiteLLM serves it.
          access_groups:
            type: list
            elements: str
            description: Access groups of its deployments.
          provider:
            type: str
            description: Provider that LiteLLM derives from the bare name, such as V(openai) from V(gpt-4o).
      openwebui_model_prefix:
        description: >-
          What Open WebUI puts in front of LiteLLM's model names, that is C(prefix_id) of its connection,
          and a dot. Must be the prefix of Open WebUI's connection with a dot at its end, or empty.
        type: str
      model_takeover:
        description: >-
          Make models private that somebody has made public in Open WebUI. Removing the bridge makes them
          public again.
        type: bool
      enforce_models:
        description: >-
          Let LiteLLM itself refuse the models that somebody may not call, by rows of its table of end users,
          which the drainer writes. Needs LiteLLM 1.106 or newer, O(settings.model_access), and Open WebUI's
          header with the name of the person.
        type: bool
      enforce_key:
        description: >-
          By which header Open WebUI names the person to LiteLLM, with O(settings.enforce_models): V(email)
          for C(X-OpenWebUI-User-Email), V(id) for C(X-OpenWebUI-User-Id).
        type: str
        choices: [email, id]
      enforce_unknown:
        description: >-
          With O(settings.enforce_models), what people may call who have an account in Open WebUI and none
          of the bridge's. V(deny) is nothing, once the key of Open WebUI's connection has C(end_user_budget_id)
          V(user_bridge_unknown), which LiteLLM knows from 1.108 on. V(allow) is everything.
        type: str
        choices: [deny, allow]
      enforce_unlinked:
        description: >-
          With O(settings.enforce_unknown) V(deny), what accounts of Open WebUI may call that stand for no
          user of LiteLLM and never did, such as its first admin's. V(deny) is nothing, as for all whom the
          bridge does not know. V(allow) is everything that the key of the connection may, by a row in LiteLLM
          for each, which the drainer takes back when it no longer applies. An account whose address LiteLLM
          has is not among them, nor one that waits for an admin of Open WebUI.
        type: str
        choices: [deny, allow]
      attribution:
        description: >-
          On whom LiteLLM books what people spend in Open WebUI, as you have set up the two programs. V(user_id)
          is its user whose id is in C(X-OpenWebUI-User-Id), V(email) the one whose id is in C(X-OpenWebUI-User-Email),
          V(none) none of its users. It changes neither program: by it the bridge says what both need, and
          whose spend is booked on ids that nobody has.
        type: str
        choices: [user_id, email, none]
"""
