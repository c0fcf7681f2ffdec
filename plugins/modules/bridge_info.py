#!/usr/bin/python
# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bridge_info
short_description: Report the state of the user bridge
version_added: 1.0.0
author:
  - llmops.user_bridge contributors (@llmops)
description:
  - Reports what is installed and whether it is as it was left, counts on both sides, the queue, errors, the settings,
    and a verdict with reasons.
  - Works with any login that may connect, and says in RV(unseen) what that login could not see.
  - Logs in to LiteLLM's database with the C(login_*) options, and to Open WebUI's database when O(openwebui_login_db)
    is given.
options:
  owner:
    description:
      - Role that owns the bridge's schema.
    type: str
    default: user_bridge_owner
  version:
    description:
      - Version that is expected, usually that of the collection. Without it RV(version.matches) is null.
    type: str
  check_connection:
    description:
      - Whether to connect from LiteLLM's server to Open WebUI's database as the bridge does. Needs a login that may
        become O(owner).
    type: bool
    default: true
  maintenance:
    description:
      - What is to run the drainer, as RV(llmops.user_bridge.bridge_preflight_info#module:maintenance.method) says. If
        it is anything but V(none) and no drainer lives, not even after three seconds, that is one of the
        RV(health.reasons).
    type: str
    choices: [none, pg_cron, systemd]
  drift:
    description:
      - Whether to compare both sides, which takes seconds with many users, and two more connections. Needs a login that
        may become O(owner). What differs in detail is shown by M(llmops.user_bridge.bridge_sync).
    type: bool
    default: false
  explain:
    description:
      - A person and a model, for RV(explanation). Needs a login that may become O(owner).
    type: dict
    suboptions:
      user:
        description:
          - The id or the email of a user of LiteLLM.
        type: str
        required: true
      model:
        description:
          - LiteLLM's name of a model.
        type: str
        required: true
  history:
    description:
      - Whether to return RV(history), hundreds of entries.
    type: bool
    default: false
  limit:
    description:
      - Most entries in RV(errors), RV(last_errors), RV(removals), RV(initial_passwords), RV(not_linked) and
        RV(no_sign_in).
    type: int
    default: 10
  openwebui_login_db:
    description:
      - Open WebUI's database. Without it that side is not looked at.
extends_documentation_fragment:
  - llmops.user_bridge._login
  - llmops.user_bridge._openwebui_login
  - llmops.user_bridge._program_roles
  - llmops.user_bridge._attributes
  - llmops.user_bridge._attributes.info_module
  - llmops.user_bridge._attributes.actiongroup
seealso:
  - module: llmops.user_bridge.bridge_install
  - module: llmops.user_bridge.bridge_sync
  - module: llmops.user_bridge.bridge_audit_info
"""

EXAMPLES = r"""
- name: Look at both sides on one server
  llmops.user_bridge.bridge_info:
    login_host: 127.0.0.1
    login_user: postgres
    login_password: "{{ bridge_login_password }}"
    login_db: litellm
    openwebui_login_db: openwebui
    version: 1.0.0
  register: bridge

- name: Look at it, and compare both sides
  llmops.user_bridge.bridge_info:
    login_host: 127.0.0.1
    login_user: postgres
    login_password: "{{ bridge_login_password }}"
    login_db: litellm
    openwebui_login_db: openwebui
    drift: true
  register: bridge

- name: Ask why somebody does not see a model
  llmops.user_bridge.bridge_info:
    login_host: 127.0.0.1
    login_user: postgres
    login_password: "{{ bridge_login_password }}"
    login_db: litellm
    explain:
      user: ann@example.com
      model: gpt-4o
  register: bridge

- name: Fail when the bridge is not healthy
  ansible.builtin.assert:
    that: bridge.health.status == 'ok'
    fail_msg: "{{ bridge.health.reasons | join('; ') }}"
"""

RETURN = r"""
health:
  description: The verdict.
  returned: success
  type: dict
  contains:
    status:
      description:
        - V(broken) when changes in LiteLLM do not reach Open WebUI, V(degraded) when something needs attention or could
          not be seen, otherwise V(ok).
      type: str
      sample: degraded
    reasons:
      description: What is wrong and what to do about it, the worst first. Empty when all is well.
      type: list
      elements: str
      sample: ['the bridge is paused: run the playbook llmops.user_bridge.resume_bridge']
version:
  description: Version of the bridge.
  returned: success
  type: dict
  contains:
    installed:
      description: The version recorded in LiteLLM's database, null when there is none.
      type: str
      sample: 1.0.0
    expected:
      description: The value of O(version).
      type: str
      sample: 1.0.0
    matches:
      description: Whether both sides have the expected version, null when that is not known.
      type: bool
      sample: true
litellm:
  description: LiteLLM's side.
  returned: success
  type: dict
  contains: &side
    database:
      description: Name of the database.
      type: str
      sample: litellm
    server_version:
      description: Version of the server.
      type: str
      sample: '17.6'
    installed:
      description: Whether there is anything of the bridge.
      type: bool
      sample: true
    version:
      description: The version recorded in this database.
      type: str
      sample: 1.0.0
    objects:
      description: Everything that was installed. Empty when the records could not be read.
      type: list
      elements: dict
      contains:
        kind:
          description: Kind of the object.
          type: str
          sample: trigger
        name:
          description: Name of the object.
          type: str
          sample: user_bridge_enqueue on public."LiteLLM_UserTable"
        state:
          description:
            - V(ok), V(missing), V(disabled), V(changed), or V(unknown) when it cannot be compared.
          type: str
          sample: disabled
        reason:
          description: What differs.
          type: str
          sample: trigger is disabled
    counts:
      description:
        - Numbers of rows, null when they may not be read. LiteLLM's side has C(organizations), C(teams), C(users),
          C(users_with_email), C(organization_members), C(team_members) and C(api_keys), Open WebUI's side C(users),
          C(admins), C(pending), C(groups) and C(group_members).
      type: dict
      sample: {users: 120, users_with_email: 118, organizations: 3}
    features:
      description:
        - What this version of the program knows, as far as the bridge goes by it. LiteLLM's side has
          C(organization_memberships), C(end_users), C(object_permissions) and C(user_teams), Open WebUI's side
          C(group_members), C(group_parents), C(access_grants), C(api_keys_in_user), C(api_keys) and C(session_stamps).
      type: dict
      sample: {group_members: true, group_parents: false}
    grants:
      description:
        - What the reader or writer must be able to do with the program's tables, as the installed bridge says, and what
          the owner role may do there, although it must not. Empty without these roles and without the bridge.
      type: list
      elements: dict
      contains:
        table:
          description: Name of the table.
          type: str
          sample: user
        role:
          description: The reader, the writer or the owner role.
          type: str
          sample: user_bridge_writer
        privilege:
          description: The privilege.
          type: str
          sample: INSERT
        needed:
          description: Whether it must have it; false for the owner role.
          type: bool
          sample: true
        granted:
          description: Whether it has it.
          type: bool
          sample: true
openwebui:
  description: Open WebUI's side, null when O(openwebui_login_db) is not given or the database cannot be reached.
  returned: success
  type: dict
  contains: *side
installation:
  description:
    - Which installation LiteLLM's database is, see M(llmops.user_bridge.bridge_ownership). Null when that could not be
      seen.
  returned: success
  type: dict
  contains:
    id:
      description: The id of the installation, null when it has none yet.
      type: str
      sample: 0b9f4a54-6a0f-4d0e-9d6c-6f3f2f0f6f3e
    owner_id:
      description: The id of the installation that Open WebUI's database belongs to, null when it could not be seen.
      type: str
      sample: 0b9f4a54-6a0f-4d0e-9d6c-6f3f2f0f6f3e
    problem:
      description: Why nothing is delivered, for example because LiteLLM's database is a copy, and what to do about it.
      type: str
connection:
  description: The connection from LiteLLM's server to Open WebUI's database, null without O(check_connection).
  returned: success
  type: dict
  contains:
    state:
      description: One of V(ok), V(failed), V(missing) without a foreign server, and V(not tested) without the right to.
      type: str
      sample: ok
    error:
      description: Why it failed.
      type: str
    remedy:
      description: What to do about it.
      type: str
    user:
      description: The user that the bridge is logged in as.
      type: str
      sample: sync_user
    database:
      description: The database that the bridge is connected to.
      type: str
      sample: openwebui
    server_version:
      description: Version of that server.
      type: str
      sample: '17.6'
    apply:
      description: Whether the user can execute C(user_bridge.apply).
      type: bool
      sample: true
drainer:
  description: The session that delivers what commits leave, null where the bridge has none yet.
  returned: success
  type: dict
  contains:
    runs:
      description: The value of O(maintenance).
      type: str
      sample: systemd
    lives:
      description: Whether a drainer lives, null when that could not be seen.
      type: bool
      sample: true
    since:
      description: When its session began, in UTC. Null without one, and where the login may not see other sessions.
      type: str
      sample: '2026-11-26T14:00:00Z'
queue:
  description: What has not been delivered, null when it could not be read.
  returned: success
  type: dict
  contains:
    depth:
      description: Number of entries.
      type: int
      sample: 2
    failed:
      description: Number of entries whose delivery has failed at least once.
      type: int
      sample: 1
    oldest_seconds:
      description: Age of the oldest entry, null when there is none.
      type: int
      sample: 12
    by_type:
      description: Number of entries by type of entity.
      type: dict
      sample: {user: 2}
commits:
  description:
    - How transactions of LiteLLM's have delivered their changes since the bridge was installed, null where that could
      not be seen.
  returned: success
  type: dict
  contains:
    delivered:
      description: Number of transactions that delivered it themselves, before their COMMIT returned.
      type: int
      sample: 980
    queued:
      description: Number of transactions that left it to the drainer, because others were delivering or otherwise.
      type: int
      sample: 20
    queued_share:
      description: The share of the latter, null before the first transaction.
      type: float
      sample: 0.02
    delay_ms:
      description:
        - Milliseconds that a change lately stayed in the queue at most before the drainer had delivered it, null before
          the first. What is long ago counts less and less.
      type: int
      sample: 85
errors:
  description: The errors of the entries in the queue, grouped, the most frequent first.
  returned: success
  type: list
  elements: dict
  contains:
    sqlstate:
      description: Error code.
      type: str
      sample: '08001'
    message:
      description: Error message.
      type: str
      sample: could not establish connection
    entities:
      description: Number of entities with this error.
      type: int
      sample: 2
    attempts:
      description: Largest number of attempts.
      type: int
      sample: 5
    oldest_seconds:
      description: Age of the oldest entry with this error.
      type: int
      sample: 120
    cause:
      description: The kind of problem.
      type: str
      sample: unreachable
    remedy:
      description: What to do about it.
      type: str
      sample: check that Open WebUI's server runs and that bridge_target_host and _port reach it
causes:
  description: The errors of the entries in the queue by what is behind them, those with the most entities first.
  returned: success
  type: list
  elements: dict
  contains:
    cause:
      description: The kind of problem.
      type: str
      sample: unreachable
    remedy:
      description: What to do about it.
      type: str
      sample: check that Open WebUI's server runs and that bridge_target_host and _port reach it
    entities:
      description: Number of entities that wait for it.
      type: int
      sample: 2
    attempts:
      description: Largest number of attempts.
      type: int
      sample: 5
    oldest_seconds:
      description: Age of the oldest entry.
      type: int
      sample: 120
    examples:
      description: Up to three of the error messages.
      type: list
      elements: str
      sample: [could not establish connection]
last_errors:
  description: The last failed operations in the audit, the newest first.
  returned: success
  type: list
  elements: dict
  contains:
    operation:
      description: What was tried.
      type: str
      sample: SYNC_USER
    record_id:
      description: Id of the entity in LiteLLM.
      type: str
      sample: u1
    message:
      description: Error message.
      type: str
      sample: value too long for type character varying(255)
    at:
      description: When, in UTC.
      type: str
      sample: '2026-11-23T08:00:00Z'
recent:
  description: The last deliveries in the audit, 1000 at most, null when they could not be read.
  returned: success
  type: dict
  contains:
    entries:
      description: Number of deliveries.
      type: int
      sample: 1000
    delivered:
      description: Number of those that did not fail. What was tried several times counts each time.
      type: int
      sample: 998
    since:
      description: When the first of them was, in UTC. Null without any.
      type: str
      sample: '2026-11-22T08:00:00Z'
    last_success:
      description: When something was last delivered, in UTC. Null for never, as far as the audit goes back.
      type: str
      sample: '2026-11-23T08:00:00Z'
day:
  description: What the drainer has counted in the last day, null when it could not be read.
  returned: success
  type: dict
  contains:
    entries:
      description: Number of deliveries.
      type: int
      sample: 1800
    delivered:
      description: Number of those that did not fail.
      type: int
      sample: 1795
    most_waiting:
      description: The most entries that were seen waiting in the queue, null before the first count.
      type: int
      sample: 12
    longest_seconds:
      description: The greatest age of an entry that was seen waiting, null before the first count.
      type: int
      sample: 3
history:
  description:
    - What the drainer has counted, one entry for each hour of the last 30 days in which it has, the oldest first. Null
      without O(history) or when it could not be read.
  returned: success
  type: list
  elements: dict
  contains:
    hour:
      description: When the hour began, in UTC.
      type: str
      sample: '2026-11-23T08:00:00Z'
    delivered:
      description: Number of deliveries that arrived.
      type: int
      sample: 75
    skipped:
      description: Number of those that had nothing to deliver, for example because a user has no address.
      type: int
      sample: 2
    failed:
      description: Number of those that failed. What was tried several times counts each time.
      type: int
      sample: 1
    delay_ms:
      description:
        - Milliseconds that a change stayed in the queue at most, delivered or not. Null where only deliveries were
          counted.
      type: int
      sample: 85
    mapped:
      description: What RV(mapped) was when it was last counted in that hour. Empty where it was not.
      type: dict
      sample: {organization: 3, user: 118}
last_comparison:
  description:
    - When the drainer last compared Open WebUI with what it has delivered, in UTC. Null for never, or when that failed.
  returned: success
  type: str
  sample: '2026-11-23T08:00:00Z'
upkeep_failing:
  description: The tasks of the drainer's upkeep that failed the last time.
  returned: success
  type: list
  elements: dict
  contains:
    task:
      description: Name of the task.
      type: str
      sample: initial passwords
    failures:
      description: How often it has failed since it last did not.
      type: int
      sample: 2
    message:
      description: Error message.
      type: str
      sample: permission denied for table auth
mapped:
  description: Number of LiteLLM's entities with a counterpart in Open WebUI, by type, null when it could not be read.
  returned: success
  type: dict
  sample: {organization: 3, user: 118}
skipped_users:
  description: How many users of LiteLLM get no account, by reason, null when it could not be read.
  returned: success
  type: list
  elements: dict
  contains:
    reason:
      description: Why they get none.
      type: str
      sample: no email
    users:
      description: Number of users.
      type: int
      sample: 2
trigger_faults:
  description:
    - How often a trigger on one of LiteLLM's tables could not compare its columns and compared whole rows, because
      LiteLLM has changed a column that it knows. M(llmops.user_bridge.bridge_sync) starts the count anew when it
      repairs everything. Null when it could not be read.
  returned: success
  type: int
  sample: 0
triggers_off:
  description:
    - Roles and databases for which C(session_replication_role) is set to C(replica), so that the bridge's triggers do
      not fire in their sessions.
  returned: success
  type: list
  elements: str
  sample: [role litellm]
removals:
  description: The changes that are held until somebody decides, null when they could not be read.
  returned: success
  type: dict
  contains:
    total:
      description: How many there are.
      type: int
      sample: 40
    by_kind:
      description: The same by kind.
      type: dict
      sample: {deletion: 40}
    first:
      description: The first O(limit) of them, as RV(llmops.user_bridge.bridge_sync#module:removals) has them.
      type: list
      elements: dict
      sample:
        - id: 17
          incident: 3
          kind: deletion
          entity_type: user
          entity_id: u1
          openwebui_id: usr_u1
          accounts: [{id: usr_u1, email: ann@example.com, name: Ann}]
          reason: too many accounts deleted within ten minutes
          parked_at: '2026-11-23T08:00:00.123456Z'
drift:
  description: What differs between both sides, null without O(drift) or when it could not be compared.
  returned: success
  type: dict
  contains:
    entities:
      description: Number of entities that differ.
      type: int
      sample: 1
    fields:
      description: Number of fields that differ.
      type: int
      sample: 2
    by_type:
      description: Number of entities by type.
      type: dict
      sample: {user: 1}
models:
  description: Rights on models, as each side has them.
  returned: success
  type: dict
  contains:
    litellm:
      description: What LiteLLM says, null when it could not be seen.
      type: dict
      contains:
        models:
          description: Number of models that LiteLLM serves.
          type: int
          sample: 12
        extra:
          description: Number of models that the setting C(extra_models) names, which LiteLLM's database need not have.
          type: int
          sample: 2
        blocked:
          description: Number of models of which all deployments are blocked.
          type: int
          sample: 0
        of_teams:
          description: Number of teams' own deployments, which a key of no team cannot reach.
          type: int
          sample: 0
        sets:
          description: Number of lists that a group in Open WebUI stands for.
          type: int
          sample: 3
        unassigned:
          description: Number of people who see everything only because no list says anything about them.
          type: int
          sample: 0
        unseen:
          description: The models that nobody has a list for.
          type: list
          elements: str
          sample: []
    openwebui:
      description:
        - What Open WebUI has, null without O(openwebui_login_db) or when it could not be seen.
        - Numbers of C(models) with a row, rows that the bridge C(made), C(grants), grants that are C(not_written),
          C(groups) and C(members).
        - Models that are C(public), C(taken_over) or C(switched_off), and C(wider_presets), which people see who do not
          see the model below.
        - Models that are C(owned) by somebody who is no administrator, and who sees them without a grant.
        - C(presets) of Open WebUI that have the id of a model, and the model that answers (C(base)). Nobody is granted
          them.
        - Groups that the bridge made for rights alone, to which somebody else has C(added) people.
      type: dict
      sample: {models: 12, made: 12, grants: 40, not_written: 0, groups: 3, members: 25, public: [], owned: [],
        added: [], taken_over: [], switched_off: [], presets: [], wider_presets: []}
enforcement:
  description:
    - What LiteLLM itself refuses, by rows of its table of end users. Null when it could not be seen.
  returned: success
  type: dict
  contains:
    enabled:
      description: The setting C(enforce_models).
      type: bool
      sample: true
    supported:
      description: Whether this LiteLLM looks at the models of an end user, as it does from 1.106 on.
      type: bool
      sample: true
    key:
      description: The setting C(enforce_key).
      type: str
      sample: email
    unknown:
      description: The setting C(enforce_unknown).
      type: str
      sample: deny
    unlinked:
      description: The setting C(enforce_unlinked).
      type: str
      sample: allow
    unlinked_accounts:
      description:
        - Number of accounts of Open WebUI that stand for no user of LiteLLM and never did, as the drainer has seen them
          last. Not counted where C(unlinked) is V(deny).
      type: int
      sample: 4
    unlinked_rows:
      description:
        - Number of C(rows) by which such an account may call everything. There is none for an account whose address
          LiteLLM has or had.
      type: int
      sample: 3
    rows:
      description: Number of rows that the bridge keeps, those that it has C(made) and others that it has adopted.
      type: int
      sample: 120
    made:
      description: Number of rows that the bridge has made.
      type: int
      sample: 100
    denied:
      description: Number of rows by which nothing may be called.
      type: int
      sample: 3
    due:
      description: Number of people and rows that wait for the drainer.
      type: int
      sample: 0
    busy:
      description: Number of rows that somebody had locked when they were due, for instance LiteLLM's spend flush.
      type: int
      sample: 0
    foreign_rows:
      description: Number of rows that somebody else has made, and which are left as they are.
      type: int
      sample: 0
    foreign:
      description: The first twenty of these.
      type: list
      elements: str
      sample: []
    denying_keys:
      description: Number of keys of LiteLLM's by which people whom the bridge does not know may call nothing.
      type: int
      sample: 1
    missing:
      description: What has to be set in LiteLLM before it refuses what it must, one sentence or more for each.
      type: list
      elements: str
      sample: []
attribution:
  description:
    - On whom LiteLLM books what people spend in Open WebUI. Null when it could not be seen.
  returned: success
  type: dict
  contains:
    declared:
      description: The setting C(attribution).
      type: str
      sample: user_id
    accounts:
      description: Number of accounts that the bridge keeps.
      type: int
      sample: 120
    by_user_id:
      description: Number of accounts that have the id of their user in LiteLLM.
      type: int
      sample: 118
    by_email:
      description: Number of accounts whose email is the id of their user in LiteLLM.
      type: int
      sample: 0
    missed:
      description: Number of accounts whose spend is booked on an id that nobody has, as C(declared).
      type: int
      sample: 2
    missed_users:
      description: The first twenty of their users in LiteLLM.
      type: list
      elements: str
      sample: [u1, u2]
    hints:
      description: Why they are missed, and what to do, a sentence or more for each reason.
      type: list
      elements: str
      sample: []
    litellm_snippet:
      description: What has to be in LiteLLM's configuration file for C(declared) and for enforcement, empty if nothing.
      type: str
      sample: ""
    openwebui_snippet:
      description: What has to be in Open WebUI's environment for that.
      type: str
      sample: ""
explanation:
  description:
    - Why the person of O(explain) sees the model or does not, null without that or when it could not be asked.
  returned: success
  type: dict
  contains:
    user:
      description: LiteLLM's id of the user, null if there is none.
      type: str
      sample: u1
    model:
      description: The model.
      type: str
      sample: gpt-4o
    granted:
      description: Whether LiteLLM's rows and the settings of the bridge let the user see it.
      type: bool
      sample: false
    problem:
      description: What is in the way of everybody, null if nothing is.
      type: str
      sample: all deployments of the model are blocked in LiteLLM
    ways:
      description: Each way by which the user could have it, those first that are open.
      type: list
      elements: dict
      contains:
        way:
          description: The team, list or key.
          type: str
          sample: team Blue
        opens:
          description: Whether it is one.
          type: bool
          sample: false
        reason:
          description: Why, or why not.
          type: str
          sample: the team lists it, but the scope there is gpt-4o-mini
    openwebui:
      description:
        - Whether the account C(sees) it in Open WebUI, by which C(ways), and the C(reasons) why not.
      type: dict
      sample: {sees: false, account: usr_u1, row: gpt-4o, ways: [], reasons: [no grant reaches the account]}
initial_passwords:
  description:
    - The accounts that still have the password that the bridge gave them, the oldest first. Null without
      O(openwebui_login_db) or when it could not be read.
  returned: success
  type: dict
  contains:
    total:
      description: How many there are.
      type: int
      sample: 2
    first:
      description: The first O(limit) of them, with the id of the user in LiteLLM and the age in seconds.
      type: list
      elements: dict
      sample:
        - user_id: u1
          seconds: 3600
settings:
  description: The settings of the bridge, null when they could not be read.
  returned: success
  type: dict
  sample: {delivery: commit, paused: false}
pause:
  description: Since when and until when the bridge is paused, null where it is not, or when that could not be read.
  returned: success
  type: dict
  contains:
    since:
      description: When it was paused, in UTC. Null where an older version did it.
      type: str
      sample: '2026-11-26T14:00:00Z'
    until:
      description: When the pause ends by itself, in UTC. Null for never.
      type: str
      sample: '2026-11-26T16:00:00Z'
not_linked:
  description:
    - The users of LiteLLM that get no account because Open WebUI has one with their email that must not be linked to
      them. Null without O(openwebui_login_db) or when it could not be read.
  returned: success
  type: dict
  contains:
    total:
      description: How many there are.
      type: int
      sample: 1
    first:
      description: The first O(limit) of them, with the reason and what to do about it.
      type: list
      elements: dict
      sample:
        - user_id: u1
          reason: >-
            Open WebUI's account with this email is an admin, and the user is none in LiteLLM: make the user proxy_admin
            in LiteLLM, or take the admin role from the account in Open WebUI
no_sign_in:
  description:
    - The accounts of LiteLLM's users that nothing opens; they have no usable password, and nobody has signed in to them
      by single sign-on. Null without O(openwebui_login_db) or when it could not be read.
  returned: success
  type: dict
  contains:
    total:
      description: How many there are.
      type: int
      sample: 1
    first:
      description: The first O(limit) of them.
      type: list
      elements: dict
      sample:
        - user_id: u1
          openwebui_id: usr_u1
          email: ann@example.com
linked:
  description:
    - How many accounts and groups of Open WebUI stand for something of LiteLLM's, by its type. Null without
      O(openwebui_login_db) or when it could not be read.
  returned: success
  type: dict
  sample:
    organization: {linked: 3, missing: 0}
    team: {linked: 14, missing: 1}
    user: {linked: 118, missing: 0}
settings_differ:
  description:
    - The settings that both sides store and that differ, as after half a deploy. Null without O(openwebui_login_db) or
      when one side could not be read.
  returned: success
  type: list
  elements: str
  sample: []
unseen:
  description: What the login could not see.
  returned: success
  type: list
  elements: dict
  contains:
    what:
      description: What was looked for.
      type: str
      sample: queue
    reason:
      description: Why it could not be seen.
      type: str
      sample: permission denied for schema user_bridge (SQLSTATE 42501)
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg, _version
from ansible_collections.llmops.user_bridge.plugins.module_utils._bridge import program_roles_spec
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._info import gather as _info


def action(module: AnsibleModule) -> dict[str, Any]:
    if module.params["version"] is not None:
        _version.version_key(module.params["version"])
    if module.params["limit"] < 0:
        raise BridgeError("limit must not be negative")
    return _info.gather(module.params)


def main() -> None:
    spec = {**_pg.argument_spec(), **_pg.argument_spec("openwebui_"), **program_roles_spec()}
    spec.update(
        owner={"type": "str", "default": "user_bridge_owner"},
        version={"type": "str"},
        check_connection={"type": "bool", "default": True},
        maintenance={"type": "str", "choices": ["none", "pg_cron", "systemd"]},
        drift={"type": "bool", "default": False},
        history={"type": "bool", "default": False},
        explain={
            "type": "dict",
            "options": {"user": {"type": "str", "required": True}, "model": {"type": "str", "required": True}},
        },
        limit={"type": "int", "default": 10},
    )
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    _pg.run(module, action)


if __name__ == "__main__":
    main()
