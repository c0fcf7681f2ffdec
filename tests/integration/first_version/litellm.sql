-- Copyright (c) 2026, llmops.user_bridge contributors
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- What the version before the first release installed on this side, as rendered with the names that the tests use. Not to be changed.

-- litellm/10_tables.sql.j2
-- State of the bridge on LiteLLM's side. In a schema of its own because LiteLLM's start-up diff (1.77.3-1.103 in
-- several modes) drops every table, column and index in "public" that its schema.prisma does not know.

CREATE TABLE IF NOT EXISTS user_bridge.settings (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    paused boolean NOT NULL DEFAULT false,
    delivery text NOT NULL DEFAULT 'commit' CHECK (delivery IN ('commit', 'queued')),
    target_timeout_ms integer NOT NULL DEFAULT 2000 CHECK (target_timeout_ms BETWEEN 100 AND 60000),
    backoff_seconds integer NOT NULL DEFAULT 30 CHECK (backoff_seconds BETWEEN 1 AND 3600),
    inline_limit integer NOT NULL DEFAULT 500 CHECK (inline_limit BETWEEN 1 AND 10000),
    removal_accounts integer NOT NULL DEFAULT 25 CHECK (removal_accounts >= 0),
    removal_percent numeric NOT NULL DEFAULT 5 CHECK (removal_percent BETWEEN 0 AND 100),
    audit_retention_days integer NOT NULL DEFAULT 90 CHECK (audit_retention_days >= 1),
    user_id_prefix text NOT NULL DEFAULT 'usr_',
    group_id_prefix text NOT NULL DEFAULT 'grp_',
    team_group_id_prefix text NOT NULL DEFAULT 'grp_team_',
    team_groups boolean NOT NULL DEFAULT true,
    role_map jsonb NOT NULL DEFAULT '{"proxy_admin": "admin"}' CHECK (jsonb_typeof(role_map) = 'object'),
    default_role text NOT NULL DEFAULT 'user' CHECK (default_role IN ('user', 'pending')),
    adopt_existing boolean NOT NULL DEFAULT true,
    on_user_delete text NOT NULL DEFAULT 'delete' CHECK (on_user_delete IN ('delete', 'disable', 'keep')),
    initial_password text NOT NULL DEFAULT 'email' CHECK (initial_password IN ('email', 'random', 'none')),
    initial_password_admins boolean NOT NULL DEFAULT false,
    initial_password_ttl_hours integer NOT NULL DEFAULT 72 CHECK (initial_password_ttl_hours >= 1),
    password_cost integer NOT NULL DEFAULT 10 CHECK (password_cost BETWEEN 4 AND 16),
    api_keys text NOT NULL DEFAULT 'mapping' CHECK (api_keys IN ('mapping', 'mirror', 'off')),
    CHECK (user_id_prefix <> '' AND group_id_prefix <> '' AND team_group_id_prefix <> ''
           AND group_id_prefix <> team_group_id_prefix)
);
COMMENT ON TABLE user_bridge.settings IS
    'One row: how the bridge behaves. Written by bridge_install (paused: by pause() and resume()).';

-- The key begins with the transaction, so that delivery at COMMIT touches its own entries of the index only: a queue
-- that is searched for others' work on every commit slows down as soon as a long transaction keeps dead rows alive.
CREATE TABLE IF NOT EXISTS user_bridge.sync_queue (
    txid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    entity_type text NOT NULL,
    entity_id text NOT NULL,
    wakes boolean NOT NULL DEFAULT false,
    enqueued_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    last_sqlstate text,
    last_error text,
    parked_at timestamptz,
    approved boolean NOT NULL DEFAULT false,
    PRIMARY KEY (txid, entity_type, entity_id)
);
COMMENT ON TABLE user_bridge.sync_queue IS
    'Entities whose state has not reached Open WebUI yet. A row names an entity, never a change; memberships are '
    'named by a JSON array, ["<organization or team id>", "<user id>"]. parked_at: a removal that waits for '
    'approve_removals(), which sets approved.';

CREATE INDEX IF NOT EXISTS sync_queue_parked ON user_bridge.sync_queue (parked_at) WHERE parked_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS user_bridge.target (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    schema_mark text
);
COMMENT ON TABLE user_bridge.target IS
    'One row: a digest of Open WebUI''s tables as the last drain found them. When they change, what failed is tried again.';

CREATE UNLOGGED TABLE IF NOT EXISTS user_bridge.uncrashed AS SELECT true AS survived;
COMMENT ON TABLE user_bridge.uncrashed IS
    'One row, put back by the drain. A crash, a failover or a restored backup empties it: what such a server has lost it '
    'may number a second time, so that the journal''s transaction numbers from before mean nothing.';

CREATE TABLE IF NOT EXISTS user_bridge.sync_mapping (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    litellm_type text NOT NULL,
    litellm_id text NOT NULL,
    openwebui_type text NOT NULL,
    openwebui_id text NOT NULL,
    sync_data jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    UNIQUE (litellm_type, litellm_id)
);
COMMENT ON TABLE user_bridge.sync_mapping IS 'Which Open WebUI row stands for which LiteLLM entity.';

CREATE TABLE IF NOT EXISTS user_bridge.sync_audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    operation text NOT NULL,
    record_id text NOT NULL,
    sync_result text NOT NULL CHECK (sync_result IN ('SUCCESS', 'FAILED', 'SKIPPED', 'WARNING')),
    old_data jsonb,
    new_data jsonb,
    error_message text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE user_bridge.sync_audit IS 'What the bridge did, entity by entity. Holds no secret, token or hash.';

-- For migration_states(): who has been skipped before. Costs nothing where nobody is.
CREATE INDEX IF NOT EXISTS sync_audit_skipped ON user_bridge.sync_audit (record_id, operation)
    WHERE sync_result = 'SKIPPED';

-- For bridge_info, which asks for the last failures: of a healthy bridge it would read all of the audit to find none.
CREATE INDEX IF NOT EXISTS sync_audit_failed ON user_bridge.sync_audit (id) WHERE sync_result = 'FAILED';

-- Sequences hold the state that every backend must see at once, even when the transaction that noticed it rolls
-- back, and that no LiteLLM transaction may wait for: setval() is not transactional and takes no row lock.
CREATE SEQUENCE IF NOT EXISTS user_bridge.delivery_version;
COMMENT ON SEQUENCE user_bridge.delivery_version IS
    'Fence: each delivery carries the next value, taken after its entities are locked; Open WebUI''s side ignores '
    'what is older than what it has.';

CREATE SEQUENCE IF NOT EXISTS user_bridge.breaker_until;
COMMENT ON SEQUENCE user_bridge.breaker_until IS
    'Milliseconds since 1970 until which COMMITs only queue, because the target did not answer; 1: closed.';

CREATE SEQUENCE IF NOT EXISTS user_bridge.backlog;
COMMENT ON SEQUENCE user_bridge.backlog IS
    '1: the last drain emptied the queue; more: milliseconds since 1970 from when on the next COMMIT that delivers takes '
    'some of what others left in the queue. Spares COMMITs a look into it.';

CREATE SEQUENCE IF NOT EXISTS user_bridge.trigger_faults;
COMMENT ON SEQUENCE user_bridge.trigger_faults IS
    'Counts row triggers that could not compare their columns and fell back to comparing whole rows.';

-- litellm/20_enqueue.sql.j2
-- What LiteLLM's own writes cost: the trigger functions run inside them. They compare columns in the body, because
-- "UPDATE OF" and a column WHEN make LiteLLM's ALTER COLUMN TYPE and DROP COLUMN fail; they leave at once for spend
-- flushes, which write spend and updated_at only; and they swallow every error, because one error in a spend flush
-- loses that spend for good (LiteLLM 1.77.3-1.109).
-- They alone pin no search_path: that would be two thirds of what they cost a spend flush. Instead every operator,
-- function and type in them is qualified, for they run with the bridge's rights on the writer's search_path.

CREATE OR REPLACE FUNCTION user_bridge.enqueue(p_type text, p_ids text[]) RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    -- Only the first row of a transaction wakes the delivery at COMMIT. The mark is undone with its row when a
    -- savepoint rolls back.
    INSERT INTO user_bridge.sync_queue (entity_type, entity_id, wakes)
    SELECT p_type, k.id,
           k.ord = 1 AND current_setting('user_bridge.woken', true) IS DISTINCT FROM 'yes'
      FROM unnest(array_remove(p_ids, NULL)) WITH ORDINALITY AS k(id, ord)
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        PERFORM set_config('user_bridge.woken', 'yes', true);
    END IF;
END
$body$;
COMMENT ON FUNCTION user_bridge.enqueue(text, text[]) IS 'Queues entities for delivery when the transaction commits.';

CREATE OR REPLACE FUNCTION user_bridge.enqueue_whole_row(p_type text, p_old jsonb, p_new jsonb, p_keys text[])
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    c_spend_columns CONSTANT text[] := ARRAY['spend', 'total_spend', 'model_spend', 'updated_at', 'last_active',
        'budget_reset_at', 'settings_updated_at'];
    v_row jsonb;
BEGIN
    PERFORM nextval('user_bridge.trigger_faults');
    IF p_old - c_spend_columns IS NOT DISTINCT FROM p_new - c_spend_columns THEN
        RETURN;
    END IF;
    FOREACH v_row IN ARRAY ARRAY[p_old, p_new] LOOP
        IF v_row IS NOT NULL THEN
            PERFORM user_bridge.enqueue(p_type, ARRAY[user_bridge.entity_id(v_row, p_keys)]);
        END IF;
    END LOOP;
EXCEPTION WHEN OTHERS THEN
    NULL;  -- Counted above; LiteLLM's write goes on, and reconcile() finds what was missed.
END
$body$;
COMMENT ON FUNCTION user_bridge.enqueue_whole_row(text, jsonb, jsonb, text[]) IS
    'The triggers'' way out when LiteLLM changed a column they compare: anything but spend queues the entity.';

CREATE OR REPLACE FUNCTION user_bridge.entity_id(p_row jsonb, p_keys text[]) RETURNS text
LANGUAGE sql STABLE AS $body$
    SELECT CASE cardinality(p_keys)
        WHEN 1 THEN p_row ->> p_keys[1]
        ELSE user_bridge.member_id(p_row ->> p_keys[1], p_row ->> p_keys[2])
    END
$body$;
COMMENT ON FUNCTION user_bridge.entity_id(jsonb, text[]) IS 'The queue''s name of the entity that a LiteLLM row stands for.';

CREATE OR REPLACE FUNCTION user_bridge.member_id(p_group_id text, p_user_id text) RETURNS text
-- Not IMMUTABLE: jsonb_build_array() is not, and PostgreSQL would plan this anew on each call instead of inlining it.
LANGUAGE sql STABLE AS $body$
    SELECT jsonb_build_array(p_group_id, p_user_id)::text
$body$;
COMMENT ON FUNCTION user_bridge.member_id(text, text) IS
    'The queue''s name of a membership: a JSON array, which no character in an id can make ambiguous.';

CREATE OR REPLACE FUNCTION user_bridge.member_keys(p_ids text[]) RETURNS TABLE (id text, group_id text, user_id text)
LANGUAGE sql STABLE AS $body$
    -- OFFSET 0: taken apart once, however often the parts are compared.
    SELECT i.id, i.key ->> 0, i.key ->> 1
      FROM (SELECT m.id, m.id::jsonb AS key FROM unnest(p_ids) AS m(id) OFFSET 0) AS i
$body$;
COMMENT ON FUNCTION user_bridge.member_keys(text[]) IS 'What member_id() has made names of.';

-- litellm/21_enqueue_organization.sql.j2
CREATE OR REPLACE FUNCTION user_bridge.enqueue_organization(p_old text, p_new text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    PERFORM user_bridge.enqueue('organization', ARRAY[p_new, p_old]);
END
$body$;
COMMENT ON FUNCTION user_bridge.enqueue_organization(text, text) IS
    'Queues an organization whose row was p_old and is p_new; NULL: there was or is none.';

CREATE OR REPLACE FUNCTION user_bridge.on_organization_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $body$
BEGIN
    IF TG_OP OPERATOR(pg_catalog.=) 'UPDATE'
       AND ROW(NEW.organization_id, NEW.organization_alias)::pg_catalog.record OPERATOR(pg_catalog.*=)
           ROW(OLD.organization_id, OLD.organization_alias)::pg_catalog.record THEN
        RETURN NULL;
    END IF;
    PERFORM user_bridge.enqueue_organization(OLD.organization_id, NEW.organization_id);
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    PERFORM user_bridge.enqueue_whole_row('organization', pg_catalog.to_jsonb(OLD), pg_catalog.to_jsonb(NEW),
        ARRAY['organization_id']);
    RETURN NULL;
END
$body$;
COMMENT ON FUNCTION user_bridge.on_organization_change() IS 'Queues an organization whose group may have to change.';

CREATE OR REPLACE FUNCTION user_bridge.enqueue_organization_members(
    p_old_organization text, p_old_user text, p_new_organization text, p_new_user text)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    PERFORM user_bridge.enqueue('organization_member', array_agg(user_bridge.member_id(m.organization, m.member)))
       FROM (VALUES (p_old_organization, p_old_user), (p_new_organization, p_new_user)) AS m(organization, member)
      WHERE m.organization IS NOT NULL AND m.member IS NOT NULL;
END
$body$;
COMMENT ON FUNCTION user_bridge.enqueue_organization_members(text, text, text, text) IS
    'Queues a membership that was the first and is the second pair; NULL: there was or is none.';

CREATE OR REPLACE FUNCTION user_bridge.on_organization_membership_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $body$
BEGIN
    -- LiteLLM books spend on this row, and a member's role inside the organization has no counterpart.
    IF TG_OP OPERATOR(pg_catalog.=) 'UPDATE'
       AND ROW(NEW.organization_id, NEW.user_id)::pg_catalog.record OPERATOR(pg_catalog.*=)
           ROW(OLD.organization_id, OLD.user_id)::pg_catalog.record THEN
        RETURN NULL;
    END IF;
    PERFORM user_bridge.enqueue_organization_members(OLD.organization_id, OLD.user_id, NEW.organization_id, NEW.user_id);
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    PERFORM user_bridge.enqueue_whole_row('organization_member', pg_catalog.to_jsonb(OLD), pg_catalog.to_jsonb(NEW),
        ARRAY['organization_id', 'user_id']);
    RETURN NULL;
END
$body$;
COMMENT ON FUNCTION user_bridge.on_organization_membership_change() IS 'Queues a membership that came or went.';

-- litellm/22_enqueue_user.sql.j2
CREATE OR REPLACE FUNCTION user_bridge.enqueue_user(
    p_old_id text, p_old_email text, p_old_organization text, p_new_id text, p_new_email text, p_new_organization text)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    PERFORM user_bridge.enqueue('user', ARRAY[p_new_id, p_old_id]);
    IF p_old_email IS NOT NULL AND p_old_email IS DISTINCT FROM p_new_email THEN
        -- Whoever shares it takes over the account.
        PERFORM user_bridge.enqueue('email', ARRAY[lower(p_old_email)]);
    END IF;
    IF coalesce(p_old_organization, p_new_organization) IS NOT NULL THEN
        PERFORM user_bridge.enqueue_organization_members(p_old_organization, p_old_id, p_new_organization, p_new_id);
    END IF;
END
$body$;
COMMENT ON FUNCTION user_bridge.enqueue_user(text, text, text, text, text, text) IS
    'Queues a user, and whoever else the row decides about, by what it was and what it is; NULL: there was or is none.';

CREATE OR REPLACE FUNCTION user_bridge.on_user_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $body$
BEGIN
    IF TG_OP OPERATOR(pg_catalog.=) 'UPDATE'
       AND ROW(NEW.user_id, NEW.user_email, NEW.user_alias, NEW.user_role, NEW.team_id, NEW.organization_id, NEW.teams,
               NEW.metadata OPERATOR(pg_catalog.->) 'scim_active')::pg_catalog.record OPERATOR(pg_catalog.*=)
           ROW(OLD.user_id, OLD.user_email, OLD.user_alias, OLD.user_role, OLD.team_id, OLD.organization_id, OLD.teams,
               OLD.metadata OPERATOR(pg_catalog.->) 'scim_active')::pg_catalog.record THEN
        RETURN NULL;
    END IF;
    PERFORM user_bridge.enqueue_user(OLD.user_id, OLD.user_email, OLD.organization_id,
                                     NEW.user_id, NEW.user_email, NEW.organization_id);
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    PERFORM user_bridge.enqueue_whole_row('user', pg_catalog.to_jsonb(OLD), pg_catalog.to_jsonb(NEW), ARRAY['user_id']);
    RETURN NULL;
END
$body$;
COMMENT ON FUNCTION user_bridge.on_user_change() IS
    'Queues a user whose account may have to change; not for spend, budget, limits or updated_at.';

-- litellm/23_enqueue_team.sql.j2
CREATE OR REPLACE FUNCTION user_bridge.member_ids(p_members_with_roles jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE AS $body$
    -- The column's default is an object, and an invited member has an email only.
    SELECT coalesce(array_agg(DISTINCT m ->> 'user_id') FILTER (WHERE m ->> 'user_id' IS NOT NULL), '{}')
      FROM jsonb_array_elements(CASE jsonb_typeof(p_members_with_roles) WHEN 'array' THEN p_members_with_roles
                                ELSE '[]' END) AS m
     WHERE jsonb_typeof(m) = 'object'
$body$;
COMMENT ON FUNCTION user_bridge.member_ids(jsonb) IS 'The users in a team''s members_with_roles, by their ids.';

CREATE OR REPLACE FUNCTION user_bridge.enqueue_team_members(p_team_id text, p_old jsonb, p_new jsonb) RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    v_old CONSTANT text[] := user_bridge.member_ids(p_old);
    v_new CONSTANT text[] := user_bridge.member_ids(p_new);
BEGIN
    PERFORM user_bridge.enqueue('team_member', array_agg(user_bridge.member_id(p_team_id, c.user_id)))
       FROM ((SELECT unnest(v_old) EXCEPT SELECT unnest(v_new))
              UNION ALL
             (SELECT unnest(v_new) EXCEPT SELECT unnest(v_old))) AS c(user_id)
     HAVING count(*) > 0;
END
$body$;
COMMENT ON FUNCTION user_bridge.enqueue_team_members(text, jsonb, jsonb) IS
    'Queues who joined or left: LiteLLM rewrites the whole list for each member.';

CREATE OR REPLACE FUNCTION user_bridge.enqueue_team(
    p_old_id text, p_old_members jsonb, p_new_id text, p_new_members jsonb, p_is_another boolean)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF p_is_another THEN
        PERFORM user_bridge.enqueue('team', ARRAY[p_new_id, p_old_id]),
                user_bridge.enqueue('team_name', ARRAY[p_new_id, p_old_id]);
    END IF;
    IF p_old_id = p_new_id THEN
        PERFORM user_bridge.enqueue_team_members(p_new_id, p_old_members, p_new_members);
    ELSIF p_new_id IS NOT NULL THEN
        PERFORM user_bridge.enqueue_team_members(p_new_id, NULL, p_new_members);
        -- Who belonged to the id before went with its group, but not if Open WebUI never heard of its deletion.
        PERFORM user_bridge.enqueue('team_roster', ARRAY[m.litellm_id])
           FROM user_bridge.sync_mapping AS m WHERE m.litellm_type = 'team' AND m.litellm_id = p_new_id;
    END IF;
END
$body$;
COMMENT ON FUNCTION user_bridge.enqueue_team(text, jsonb, text, jsonb, boolean) IS
    'Queues a team by what its row was and is; NULL: there was or is none. p_is_another: its name or organization '
    'changed, or it came or went.';

CREATE OR REPLACE FUNCTION user_bridge.on_team_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $body$
DECLARE
    v_is_another boolean;
BEGIN
    v_is_another := ROW(NEW.team_id, NEW.team_alias, NEW.organization_id)::pg_catalog.record OPERATOR(pg_catalog.*<>)
                    ROW(OLD.team_id, OLD.team_alias, OLD.organization_id)::pg_catalog.record;
    IF v_is_another OR ROW(NEW.members_with_roles)::pg_catalog.record OPERATOR(pg_catalog.*<>)
                       ROW(OLD.members_with_roles)::pg_catalog.record THEN
        PERFORM user_bridge.enqueue_team(OLD.team_id, OLD.members_with_roles, NEW.team_id, NEW.members_with_roles,
                                         v_is_another);
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    PERFORM user_bridge.enqueue_whole_row('team', pg_catalog.to_jsonb(OLD), pg_catalog.to_jsonb(NEW), ARRAY['team_id']);
    RETURN NULL;
END
$body$;
COMMENT ON FUNCTION user_bridge.on_team_change() IS
    'Queues a team whose group, members or members'' names may have to change.';

-- litellm/24_enqueue_key.sql.j2
CREATE OR REPLACE FUNCTION user_bridge.fingerprint(p_token text) RETURNS text
LANGUAGE sql IMMUTABLE AS $body$
    SELECT left(encode(sha256(decode(md5(p_token), 'hex')), 'hex'), 16)
$body$;
COMMENT ON FUNCTION user_bridge.fingerprint(text) IS
    'A short one-way name of a key: LiteLLM''s token, itself a hash, is never written anywhere else.';

CREATE OR REPLACE FUNCTION user_bridge.key_id(p_user_id text, p_token text) RETURNS text
LANGUAGE sql STABLE AS $body$
    SELECT user_bridge.member_id(p_user_id, user_bridge.fingerprint(p_token))
$body$;
COMMENT ON FUNCTION user_bridge.key_id(text, text) IS
    'The queue''s name of a key: its user, by whom LiteLLM''s index finds it, and its fingerprint.';

CREATE OR REPLACE FUNCTION user_bridge.enqueue_key(
    p_old_user text, p_old_token text, p_new_user text, p_new_token text)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    PERFORM user_bridge.enqueue('api_key', ARRAY[
                CASE WHEN p_new_token IS NOT NULL THEN user_bridge.key_id(p_new_user, p_new_token) END,
                CASE WHEN p_old_token IS NOT NULL THEN user_bridge.key_id(p_old_user, p_old_token) END]),
            user_bridge.enqueue('user_key', ARRAY[p_new_user, p_old_user]);
END
$body$;
COMMENT ON FUNCTION user_bridge.enqueue_key(text, text, text, text) IS
    'Queues a key, and what is mirrored for its user, by what its row was and is; NULL: there was or is none.';

CREATE OR REPLACE FUNCTION user_bridge.on_key_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $body$
BEGIN
    -- Regeneration changes the primary key, token, in an UPDATE.
    IF TG_OP OPERATOR(pg_catalog.=) 'UPDATE'
       AND ROW(NEW.token, NEW.user_id, NEW.team_id, NEW.key_alias, NEW.models, NEW.blocked, NEW.expires)
               ::pg_catalog.record OPERATOR(pg_catalog.*=)
           ROW(OLD.token, OLD.user_id, OLD.team_id, OLD.key_alias, OLD.models, OLD.blocked, OLD.expires)
               ::pg_catalog.record THEN
        RETURN NULL;
    END IF;
    PERFORM user_bridge.enqueue_key(OLD.user_id, OLD.token, NEW.user_id, NEW.token);
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    PERFORM user_bridge.enqueue_whole_row('user_key', pg_catalog.to_jsonb(OLD), pg_catalog.to_jsonb(NEW),
        ARRAY['user_id']);
    RETURN NULL;
END
$body$;
COMMENT ON FUNCTION user_bridge.on_key_change() IS 'Queues a key that may have become usable or unusable.';

-- litellm/30_rule_organization.sql.j2
CREATE OR REPLACE FUNCTION user_bridge.desired_organizations(p_ids text[])
RETURNS TABLE (entity_id text, desired jsonb, skipped text)
LANGUAGE sql STABLE AS $body$
    SELECT k.id,
           CASE WHEN o.organization_id IS NOT NULL THEN jsonb_build_object(
               'openwebui_id', s.group_id_prefix || o.organization_id,
               'name', o.organization_alias)
           END,
           NULL::text
      FROM unnest(p_ids) AS k(id)
     CROSS JOIN user_bridge.settings AS s
      LEFT JOIN public."LiteLLM_OrganizationTable" AS o ON o.organization_id = k.id
$body$;
COMMENT ON FUNCTION user_bridge.desired_organizations(text[]) IS
    'The rule organization -> group: what Open WebUI must hold for each; desired is NULL for one that is gone.';

CREATE OR REPLACE FUNCTION user_bridge.desired_organization_members(p_ids text[])
RETURNS TABLE (entity_id text, desired jsonb, skipped text)
LANGUAGE sql STABLE AS $body$
    -- LiteLLM's endpoints write OrganizationMembership only; the user's own column is older, and still honoured.
    SELECT k.id,
           CASE WHEN m.user_id IS NOT NULL OR u.user_id IS NOT NULL THEN jsonb_build_object('member', true) END,
           NULL::text
      FROM user_bridge.member_keys(p_ids) AS k
      LEFT JOIN public."LiteLLM_OrganizationMembership" AS m
             ON m.organization_id = k.group_id AND m.user_id = k.user_id
      LEFT JOIN public."LiteLLM_UserTable" AS u
             ON u.user_id = k.user_id AND u.organization_id = k.group_id
$body$;
COMMENT ON FUNCTION user_bridge.desired_organization_members(text[]) IS
    'The rule organization membership -> group membership; desired is NULL where there is none.';

-- litellm/31_rule_user.sql.j2
CREATE OR REPLACE FUNCTION user_bridge.unusable_email(p_email text) RETURNS text
LANGUAGE sql IMMUTABLE AS $body$
    SELECT CASE
        WHEN coalesce(p_email, '') = '' THEN 'no email'
        WHEN p_email !~ '^[^\s@]+@[^\s@]+$' THEN 'the email is not an address'
        -- Open WebUI 0.6.30-0.9.5, and every database upgraded from one of these: varchar(255).
        WHEN length(p_email) > 255 THEN 'the email is longer than 255 characters'
    END
$body$;
COMMENT ON FUNCTION user_bridge.unusable_email(text) IS 'Why nobody could sign in with this email; NULL: it is usable.';

CREATE OR REPLACE FUNCTION user_bridge.display_name(p_team_alias text, p_user_alias text, p_email text) RETURNS text
LANGUAGE sql IMMUTABLE AS $body$
    SELECT CASE
        WHEN btrim(p_team_alias) <> '' AND btrim(p_user_alias) <> '' THEN p_team_alias || '-' || p_user_alias
        WHEN btrim(p_user_alias) <> '' THEN p_user_alias
        ELSE split_part(p_email, '@', 1)
    END
$body$;
COMMENT ON FUNCTION user_bridge.display_name(text, text, text) IS
    'The rule for a user''s name: {team_alias}-{user_alias}, else the alias, else the local part of the email.';

CREATE OR REPLACE FUNCTION user_bridge.email_claims(p_user_ids text[]) RETURNS TABLE (email text, user_ids text[])
LANGUAGE sql STABLE AS $body$
    SELECT lower(p.user_email), array_agg(p.user_id ORDER BY p.created_at NULLS FIRST, p.user_id COLLATE "C")
      FROM public."LiteLLM_UserTable" AS p
     WHERE lower(p.user_email) IN (
               SELECT lower(w.user_email)
                 FROM public."LiteLLM_UserTable" AS w
                 JOIN public."LiteLLM_UserTable" AS o
                   ON lower(o.user_email) = lower(w.user_email) AND o.user_id <> w.user_id
                WHERE w.user_id = ANY (p_user_ids))
       AND p.user_id <> 'default_user_id'
     GROUP BY lower(p.user_email)
$body$;
COMMENT ON FUNCTION user_bridge.email_claims(text[]) IS
    'Each email that one of these users shares (LiteLLM allows it, Open WebUI does not), and who does, the oldest first.';

CREATE OR REPLACE FUNCTION user_bridge.desired_users(p_ids text[])
RETURNS TABLE (entity_id text, desired jsonb, skipped text, affected text[])
LANGUAGE sql STABLE AS $body$
    SELECT k.id,
           CASE WHEN u.user_id IS NOT NULL AND why.skipped IS NULL THEN jsonb_build_object(
               'openwebui_id', s.user_id_prefix || u.user_id,
               'email', lower(u.user_email),
               'name', user_bridge.display_name(team.team_alias, u.user_alias, lower(u.user_email)),
               -- A viewer, an organization's admin and any role of a later LiteLLM get the default role.
               'role', coalesce(s.role_map ->> u.user_role, s.default_role),
               'original_role', u.user_role,
               'disabled', coalesce(u.metadata -> 'scim_active' = 'false'::jsonb, false))
           END,
           CASE WHEN u.user_id IS NOT NULL THEN why.skipped END,
           CASE WHEN claim.user_ids[1] = u.user_id THEN claim.user_ids[2:] END
      FROM unnest(p_ids) AS k(id)
     CROSS JOIN user_bridge.settings AS s
      LEFT JOIN public."LiteLLM_UserTable" AS u ON u.user_id = k.id
      LEFT JOIN user_bridge.email_claims(p_ids) AS claim ON claim.email = lower(u.user_email)
     CROSS JOIN LATERAL (SELECT CASE
               -- The master key's own row; LiteLLM creates it without an email, people have added one.
               WHEN u.user_id = 'default_user_id' THEN 'LiteLLM''s own default user'
               WHEN user_bridge.unusable_email(u.user_email) IS NOT NULL THEN user_bridge.unusable_email(u.user_email)
               WHEN claim.user_ids[1] <> u.user_id THEN 'the email belongs to the older user ' || claim.user_ids[1]
               WHEN length(s.user_id_prefix || u.user_id) > 255 THEN 'the user id is longer than Open WebUI''s column'
           END AS skipped) AS why
      -- teams can name teams that are gone: LiteLLM does not clean it up when an organization is deleted.
      LEFT JOIN LATERAL (SELECT t.team_alias
                           FROM unnest(u.team_id || u.teams) WITH ORDINALITY AS n(team_id, ord)
                           JOIN public."LiteLLM_TeamTable" AS t USING (team_id)
                          ORDER BY n.ord
                          LIMIT 1) AS team ON true
$body$;
COMMENT ON FUNCTION user_bridge.desired_users(text[]) IS
    'The rule user -> account: what Open WebUI must hold for each; desired is NULL for one that is gone or skipped, '
    'skipped says why. affected: the users who lost the email to this one.';

-- litellm/32_rule_team.sql.j2
CREATE OR REPLACE FUNCTION user_bridge.desired_teams(p_ids text[])
RETURNS TABLE (entity_id text, desired jsonb, skipped text)
LANGUAGE sql STABLE AS $body$
    SELECT k.id,
           CASE WHEN t.team_id IS NOT NULL AND s.team_groups THEN jsonb_build_object(
               'openwebui_id', s.team_group_id_prefix || t.team_id,
               -- An alias is optional in LiteLLM; a group without a name makes Open WebUI's group page fail.
               'name', coalesce(nullif(btrim(t.team_alias), ''), t.team_id),
               'organization_id', t.organization_id)
           END,
           NULL::text
      FROM unnest(p_ids) AS k(id)
     CROSS JOIN user_bridge.settings AS s
      LEFT JOIN public."LiteLLM_TeamTable" AS t ON t.team_id = k.id
$body$;
COMMENT ON FUNCTION user_bridge.desired_teams(text[]) IS
    'The rule team -> group, a child of its organization''s: desired is NULL for one that is gone.';

CREATE OR REPLACE FUNCTION user_bridge.desired_team_members(p_ids text[])
RETURNS TABLE (entity_id text, desired jsonb, skipped text)
LANGUAGE sql STABLE AS $body$
    -- members_with_roles is what LiteLLM's endpoints go by: TeamMembership has a row for a budget only (1.77.3), and
    -- the user's own teams can name teams that are gone. Each list is taken apart once, however many members ask.
    SELECT k.id, CASE WHEN m.user_id IS NOT NULL THEN jsonb_build_object('member', true) END, NULL::text
      FROM user_bridge.member_keys(p_ids) AS k
      LEFT JOIN (SELECT t.team_id, unnest(user_bridge.member_ids(t.members_with_roles)) AS user_id
                   FROM public."LiteLLM_TeamTable" AS t
                   JOIN user_bridge.settings AS s ON s.team_groups
                  WHERE t.team_id IN (SELECT i.group_id FROM user_bridge.member_keys(p_ids) AS i)) AS m
             ON m.team_id = k.group_id AND m.user_id = k.user_id
$body$;
COMMENT ON FUNCTION user_bridge.desired_team_members(text[]) IS
    'The rule team membership -> group membership; desired is NULL where there is none.';

-- litellm/33_rule_key.sql.j2
CREATE OR REPLACE FUNCTION user_bridge.unusable_key(p_team_id text, p_blocked boolean, p_expires timestamp)
RETURNS text
LANGUAGE sql STABLE AS $body$
    SELECT CASE
        WHEN p_team_id = 'litellm-dashboard' THEN 'a session of LiteLLM''s own pages'
        WHEN p_blocked THEN 'the key is blocked'
        -- LiteLLM's times are UTC without saying so.
        WHEN p_expires <= timezone('UTC', statement_timestamp()) THEN 'the key has expired'
    END
$body$;
COMMENT ON FUNCTION user_bridge.unusable_key(text, boolean, timestamp) IS
    'Why LiteLLM would let nobody in with a key, or why it is nobody''s; NULL: it is usable.';

CREATE OR REPLACE FUNCTION user_bridge.desired_api_keys(p_ids text[])
RETURNS TABLE (entity_id text, desired jsonb, skipped text)
LANGUAGE sql STABLE AS $body$
    SELECT k.id,
           CASE WHEN t.token IS NOT NULL AND why.skipped IS NULL THEN jsonb_build_object(
               'openwebui_id', account.openwebui_id,
               'models', t.models,
               'key_alias', t.key_alias,
               'expires', t.expires)
           END,
           CASE WHEN t.token IS NOT NULL OR k.user_id IS NULL THEN why.skipped END
      FROM (SELECT i.id, i.id::jsonb ->> 0 AS user_id, i.id::jsonb ->> 1 AS fingerprint
              FROM unnest(p_ids) AS i(id)) AS k
     CROSS JOIN user_bridge.settings AS s
      LEFT JOIN public."LiteLLM_VerificationToken" AS t
             ON t.user_id = k.user_id AND user_bridge.fingerprint(t.token) = k.fingerprint AND s.api_keys <> 'off'
      LEFT JOIN user_bridge.sync_mapping AS account
             ON account.litellm_type = 'user' AND account.litellm_id = k.user_id
     CROSS JOIN LATERAL (SELECT CASE
               WHEN k.user_id IS NULL THEN 'the key has no user'
               ELSE coalesce(user_bridge.unusable_key(t.team_id, t.blocked, t.expires),
                             CASE WHEN account.openwebui_id IS NULL THEN 'the key''s user has no account' END)
           END AS skipped) AS why
$body$;
COMMENT ON FUNCTION user_bridge.desired_api_keys(text[]) IS
    'The rule key -> mapping: its models, for as long as it is usable. Never the token: Open WebUI has no use for it.';

CREATE OR REPLACE FUNCTION user_bridge.desired_user_keys(p_ids text[])
RETURNS TABLE (entity_id text, desired jsonb, skipped text)
LANGUAGE sql STABLE AS $body$
    SELECT k.id, CASE WHEN newest.token IS NOT NULL THEN jsonb_build_object('token', newest.token) END, NULL::text
      FROM unnest(p_ids) AS k(id)
     CROSS JOIN user_bridge.settings AS s
      LEFT JOIN LATERAL (SELECT t.token
                           FROM public."LiteLLM_VerificationToken" AS t
                          WHERE t.user_id = k.id AND s.api_keys = 'mirror'
                            AND user_bridge.unusable_key(t.team_id, t.blocked, t.expires) IS NULL
                          ORDER BY t.created_at DESC NULLS LAST, t.token
                          LIMIT 1) AS newest ON true
$body$;
COMMENT ON FUNCTION user_bridge.desired_user_keys(text[]) IS
    'The rule newest usable key -> the account''s API key slot (bridge_api_keys: mirror). It lets nobody into LiteLLM.';

-- litellm/39_rules.sql.j2
CREATE OR REPLACE FUNCTION user_bridge.desired_states(p_types text[], p_ids text[])
RETURNS TABLE (entity_type text, entity_id text, desired jsonb, skipped text, affected text[])
LANGUAGE plpgsql STABLE AS $body$
DECLARE
    v_type text;
    v_types text[] := coalesce(p_types[1:1], '{}');
    v_ids text[] := p_ids;
BEGIN
    IF p_types[1] <> ANY (p_types) THEN
        v_types := array(SELECT DISTINCT t FROM unnest(p_types) AS t);
    END IF;
    FOREACH v_type IN ARRAY v_types LOOP
        IF cardinality(v_types) > 1 THEN
            v_ids := array(SELECT k.id FROM unnest(p_types, p_ids) AS k(type, id) WHERE k.type = v_type);
        END IF;
        CASE v_type
            WHEN 'user' THEN
                RETURN QUERY SELECT v_type, d.* FROM user_bridge.desired_users(v_ids) AS d;
            WHEN 'organization' THEN
                RETURN QUERY SELECT v_type, d.*, NULL::text[] FROM user_bridge.desired_organizations(v_ids) AS d;
            WHEN 'organization_member' THEN
                RETURN QUERY SELECT v_type, d.*, NULL::text[] FROM user_bridge.desired_organization_members(v_ids) AS d;
            WHEN 'team' THEN
                RETURN QUERY SELECT v_type, d.*, NULL::text[] FROM user_bridge.desired_teams(v_ids) AS d;
            WHEN 'team_member' THEN
                RETURN QUERY SELECT v_type, d.*, NULL::text[] FROM user_bridge.desired_team_members(v_ids) AS d;
            WHEN 'api_key' THEN
                RETURN QUERY SELECT v_type, d.*, NULL::text[] FROM user_bridge.desired_api_keys(v_ids) AS d;
            WHEN 'user_key' THEN
                RETURN QUERY SELECT v_type, d.*, NULL::text[] FROM user_bridge.desired_user_keys(v_ids) AS d;
            WHEN 'email', 'team_name', 'team_roster' THEN
                NULL;  -- Stand for others, see standing_for_others().
        END CASE;
    END LOOP;
END
$body$;
COMMENT ON FUNCTION user_bridge.desired_states(text[], text[]) IS
    'What Open WebUI must hold for these entities, by LiteLLM''s tables as they are now.';

CREATE OR REPLACE FUNCTION user_bridge.users_behind(p_types text[], p_ids text[]) RETURNS SETOF text
LANGUAGE sql STABLE AS $body$
    SELECT u.user_id
      FROM public."LiteLLM_UserTable" AS u
     WHERE 'email' = ANY (p_types) AND lower(u.user_email) IN (
               SELECT k.id FROM unnest(p_types, p_ids) AS k(type, id) WHERE k.type = 'email')
     UNION
    SELECT u.user_id
      FROM public."LiteLLM_UserTable" AS u
     WHERE 'team_name' = ANY (p_types) AND (u.team_id || u.teams) && array(
               SELECT k.id FROM unnest(p_types, p_ids) AS k(type, id) WHERE k.type = 'team_name')
$body$;
COMMENT ON FUNCTION user_bridge.users_behind(text[], text[]) IS
    'The users whose account depends on a queued email (who takes it over) or team name (who is called after it).';

-- litellm/40_target.sql.j2
-- The line to Open WebUI's database: one named dblink connection per backend, opened on first use and kept.

CREATE OR REPLACE FUNCTION user_bridge.connection_name() RETURNS text
LANGUAGE plpgsql STABLE AS $body$
BEGIN
    -- A changed foreign server gets a new connection: dblink, unlike postgres_fdw, does not notice the change.
    RETURN (SELECT 'user_bridge_' || f.xmin::text FROM pg_catalog.pg_foreign_server AS f WHERE f.srvname = 'user_bridge_target');
END
$body$;
COMMENT ON FUNCTION user_bridge.connection_name() IS 'The name of this backend''s dblink connection to the target.';

CREATE OR REPLACE FUNCTION user_bridge.disconnect() RETURNS void
LANGUAGE sql AS $body$
    SELECT user_bridge.dblink_disconnect(c.name)
      FROM unnest(user_bridge.dblink_get_connections()) AS c(name)
     WHERE c.name LIKE 'user\_bridge\_%'
$body$;
COMMENT ON FUNCTION user_bridge.disconnect() IS 'Closes this backend''s connection to the target.';

CREATE OR REPLACE FUNCTION user_bridge.exchange(p_connection text, p_request text, p_deadline timestamptz)
RETURNS jsonb
LANGUAGE plpgsql AS $body$
DECLARE
    -- One COMMIT at a time: several would take the cores that the target's backends need to answer.
    v_spin_until timestamptz := clock_timestamp() + CASE
        WHEN pg_trigger_depth() > 0 AND pg_try_advisory_xact_lock(hashtextextended('user_bridge spin', 0))
        THEN interval '1 millisecond' ELSE '0' END;
    v_now timestamptz;
    v_reply jsonb;
BEGIN
    IF user_bridge.dblink_send_query(p_connection, p_request) <> 1 THEN
        RAISE EXCEPTION USING ERRCODE = 'UB001', MESSAGE = 'the connection to the target is dead';
    END IF;
    -- A blocking call has no ceiling: statement_timeout does not cover deferred triggers, and a frozen backend
    -- keeps its TCP connection. Polling without sleeping for the first millisecond costs what a blocking call
    -- costs; pg_sleep() alone would add 1-2 ms to every COMMIT.
    WHILE user_bridge.dblink_is_busy(p_connection) = 1 LOOP
        v_now := clock_timestamp();
        IF v_now >= p_deadline THEN
            RAISE EXCEPTION USING ERRCODE = 'UB002', MESSAGE = 'the target did not answer in time';
        ELSIF v_now >= v_spin_until THEN
            PERFORM pg_sleep(0.001);
        END IF;
    END LOOP;
    -- fail => false: a remote statement_timeout must not surface as query_canceled, which WHEN OTHERS lets pass.
    SELECT r.reply INTO v_reply FROM user_bridge.dblink_get_result(p_connection, false) AS r(reply jsonb);
    IF v_reply IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'UB001',
            MESSAGE = 'the target refused: ' || user_bridge.dblink_error_message(p_connection);
    END IF;
    PERFORM 1 FROM user_bridge.dblink_get_result(p_connection, false) AS r(reply jsonb);
    RETURN v_reply;
END
$body$;
COMMENT ON FUNCTION user_bridge.exchange(text, text, timestamptz) IS
    'Sends one statement and waits for its answer until the deadline. Raises UB001 (failed) or UB002 (too late).';

CREATE OR REPLACE FUNCTION user_bridge.connect(p_name text, p_deadline timestamptz) RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    c_gate CONSTANT bigint := hashtextextended('user_bridge connect', 0);
    v_detail text;
BEGIN
    -- From PostgreSQL 16 on dblink ignores connect_timeout: whoever connects while the target's postmaster hangs waits
    -- until somebody cancels. One backend may run into that; the others wait for it to get through, and then queue.
    WHILE NOT pg_try_advisory_lock(c_gate) LOOP
        IF clock_timestamp() >= p_deadline THEN
            RAISE EXCEPTION USING ERRCODE = 'UB002', MESSAGE = 'another backend got no connection to the target in time';
        END IF;
        PERFORM pg_sleep(0.002);
    END LOOP;
    BEGIN
        PERFORM user_bridge.dblink_connect(p_name, 'user_bridge_target');
    EXCEPTION WHEN query_canceled THEN
        PERFORM pg_advisory_unlock(c_gate);
        RAISE;
    WHEN OTHERS THEN
        PERFORM pg_advisory_unlock(c_gate);
        GET STACKED DIAGNOSTICS v_detail = PG_EXCEPTION_DETAIL;
        RAISE EXCEPTION USING ERRCODE = 'UB001', MESSAGE = concat_ws(': ', SQLERRM, nullif(v_detail, ''));
    END;
    PERFORM pg_advisory_unlock(c_gate);
END
$body$;
COMMENT ON FUNCTION user_bridge.connect(text, timestamptz) IS
    'Opens this backend''s connection to the target, one backend at a time. Raises UB001, or UB002 at the deadline.';

CREATE OR REPLACE FUNCTION user_bridge.call_target(p_payload jsonb, p_deadline timestamptz) RETURNS jsonb
LANGUAGE plpgsql AS $body$
DECLARE
    v_request text := format('SELECT user_bridge.apply(%L::jsonb)', p_payload);
    v_name text := user_bridge.connection_name();
    v_kept boolean := v_name = ANY (user_bridge.dblink_get_connections());
BEGIN
    IF v_name IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'UB001', MESSAGE = 'the foreign server user_bridge_target does not exist';
    END IF;
    IF v_kept THEN
        BEGIN
            RETURN user_bridge.exchange(v_name, v_request, p_deadline);
        EXCEPTION WHEN SQLSTATE 'UB001' THEN
            NULL;  -- Died since its last use (a restart, a failover, a cancelled COMMIT): replaced below.
        END;
    END IF;
    PERFORM user_bridge.disconnect();
    PERFORM user_bridge.connect(v_name, p_deadline);
    RETURN user_bridge.exchange(v_name, v_request, p_deadline);
EXCEPTION WHEN SQLSTATE 'UB001' OR SQLSTATE 'UB002' THEN
    PERFORM user_bridge.disconnect();
    RAISE;
END
$body$;
COMMENT ON FUNCTION user_bridge.call_target(jsonb, timestamptz) IS
    'Calls apply() on Open WebUI''s side, replacing a dead connection once. Raises UB001 or UB002, closed.';

-- litellm/50_delivery.sql.j2
CREATE OR REPLACE FUNCTION user_bridge.hold_tables() RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    -- A migration of LiteLLM's that alters two of its tables would otherwise deadlock with whoever has written to the
    -- one and reads the other here (20260401000000_add_budget_limits did), and may be the one that dies.
    LOCK TABLE ONLY public."LiteLLM_OrganizationTable", ONLY public."LiteLLM_OrganizationMembership",
        ONLY public."LiteLLM_TeamTable", ONLY public."LiteLLM_UserTable", ONLY public."LiteLLM_VerificationToken"
        IN ACCESS SHARE MODE NOWAIT;
END
$body$;
COMMENT ON FUNCTION user_bridge.hold_tables() IS
    'Takes the locks that reading LiteLLM''s tables needs, all at once, or raises lock_not_available.';

-- Entities are locked before their state is read: two transactions that change different rows of one entity would
-- otherwise each deliver a state that lacks the other's change. Everybody locks in the order of the keys.

CREATE OR REPLACE FUNCTION user_bridge.lock_keys(p_types text[], p_ids text[])
RETURNS TABLE (key bigint, shared boolean)
LANGUAGE sql STABLE AS $body$
    SELECT hashtextextended('user_bridge ' || k.name, 0), k.shared
      FROM unnest(p_types, p_ids) AS e(type, id)
      LEFT JOIN public."LiteLLM_UserTable" AS u ON e.type = 'user' AND u.user_id = e.id
     CROSS JOIN LATERAL (
            SELECT e.type || ' ' || e.id, false
             UNION ALL
            -- Of two users with one email, whichever comes second must see the first.
            SELECT 'email ' || lower(u.user_email), false
             UNION ALL
            -- Members are delivered side by side, but not beside a renaming of their team.
            SELECT 'team_name ' || t.id, true FROM unnest(u.team_id || u.teams) AS t(id)
             UNION ALL
            -- Nor a membership beside the end of its account, which would not take it along.
            SELECT CASE WHEN e.type LIKE '%\_member' THEN 'user ' || (e.id::jsonb ->> 1) END, true) AS k(name, shared)
     WHERE k.name IS NOT NULL
$body$;
COMMENT ON FUNCTION user_bridge.lock_keys(text[], text[]) IS 'Advisory lock keys of these entities; one that several need comes as often.';

CREATE OR REPLACE FUNCTION user_bridge.try_lock(p_key bigint, p_shared boolean) RETURNS boolean
LANGUAGE sql VOLATILE AS $body$
    SELECT CASE WHEN p_shared THEN pg_try_advisory_xact_lock_shared(p_key) ELSE pg_try_advisory_xact_lock(p_key) END
$body$;
COMMENT ON FUNCTION user_bridge.try_lock(bigint, boolean) IS 'Takes a lock if it is free.';

CREATE OR REPLACE FUNCTION user_bridge.wait_for_lock(p_key bigint, p_shared boolean, p_deadline timestamptz)
RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    -- LiteLLM sets its own for the rest of a spend flush: put it back.
    c_before CONSTANT text := current_setting('lock_timeout');
BEGIN
    PERFORM set_config('lock_timeout', user_bridge.milliseconds_until(p_deadline)::text, true);
    IF p_shared THEN
        PERFORM pg_advisory_xact_lock_shared(p_key);
    ELSE
        PERFORM pg_advisory_xact_lock(p_key);
    END IF;
    PERFORM set_config('lock_timeout', c_before, true);
END
$body$;
COMMENT ON FUNCTION user_bridge.wait_for_lock(bigint, boolean, timestamptz) IS 'Takes a lock, at the latest at the deadline.';

CREATE OR REPLACE FUNCTION user_bridge.lock_entities(p_types text[], p_ids text[], p_deadline timestamptz)
RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    v_keys bigint[];
    v_shared boolean[];
    v_now bigint[];
BEGIN
    -- Of one key the exclusive lock first: taking it after the shared one could be a deadlock.
    SELECT array_agg(k.key ORDER BY k.key, k.shared), array_agg(k.shared ORDER BY k.key, k.shared) INTO v_keys, v_shared
      FROM user_bridge.lock_keys(p_types, p_ids) AS k;
    FOR v_number IN 1..coalesce(cardinality(v_keys), 0) LOOP
        IF NOT user_bridge.try_lock(v_keys[v_number], v_shared[v_number]) THEN
            PERFORM user_bridge.wait_for_lock(v_keys[v_number], v_shared[v_number], p_deadline);
        END IF;
    END LOOP;
    SELECT array_agg(k.key ORDER BY k.key) INTO v_now FROM user_bridge.lock_keys(p_types, p_ids) AS k;
    -- EXCEPT hashes: looking each key up in an array took seconds for a few thousand entities.
    IF v_now <> v_keys AND EXISTS (SELECT unnest(v_now) EXCEPT SELECT unnest(v_keys)) THEN
        RAISE EXCEPTION USING ERRCODE = 'UB003', MESSAGE = 'a user''s email or teams changed while waiting for the user';
    END IF;
END
$body$;
COMMENT ON FUNCTION user_bridge.lock_entities(text[], text[], timestamptz) IS
    'Locks entities; raises lock_not_available at the deadline, and UB003 if what there is to lock has changed.';

CREATE OR REPLACE FUNCTION user_bridge.milliseconds_until(p_deadline timestamptz) RETURNS integer
LANGUAGE sql VOLATILE AS $body$
    -- Never 0, which PostgreSQL reads as "no limit".
    SELECT greatest(1, ceil(extract(epoch FROM p_deadline - clock_timestamp()) * 1000))::integer
$body$;
COMMENT ON FUNCTION user_bridge.milliseconds_until(timestamptz) IS 'Milliseconds left, at least 1.';

CREATE OR REPLACE FUNCTION user_bridge.delivery_options(s user_bridge.settings) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $body$
BEGIN
    RETURN (SELECT jsonb_build_object(
            'adopt_existing', s.adopt_existing,
            'on_user_delete', s.on_user_delete,
            'initial_password', s.initial_password,
            'initial_password_admins', s.initial_password_admins,
            'password_cost', s.password_cost,
            'removal_accounts', s.removal_accounts,
            'removal_percent', s.removal_percent));
END
$body$;
COMMENT ON FUNCTION user_bridge.delivery_options(user_bridge.settings) IS 'The settings that Open WebUI''s side acts by.';

CREATE OR REPLACE FUNCTION user_bridge.exchange_states(
    p_items jsonb, p_txid xid8, p_extra jsonb, s user_bridge.settings, p_deadline timestamptz)
RETURNS jsonb
LANGUAGE plpgsql AS $body$
DECLARE
    v_reply jsonb;
BEGIN
    FOR v_try IN 1..2 LOOP
        v_reply := user_bridge.call_target(jsonb_build_object(
            'version', nextval('user_bridge.delivery_version'),
            'txid', p_txid::text,
            -- Open WebUI's side stops in time by itself: hashing passwords can take longer than a COMMIT may.
            'budget_ms', user_bridge.milliseconds_until(p_deadline) * 3 / 4,
            'options', user_bridge.delivery_options(s),
            'items', p_items) || p_extra, p_deadline);
        EXIT WHEN v_reply ->> 'fence' IS NULL;
        -- Only a source whose counter ran backwards (a restored backup, a failover, a new installation) is older
        -- than the fence while it holds the entity's lock. The clock makes one such step enough for all entities.
        PERFORM setval('user_bridge.delivery_version', greatest((v_reply ->> 'fence')::bigint + 1,
            (extract(epoch FROM clock_timestamp()) * 1000000)::bigint));
    END LOOP;
    RETURN v_reply -> 'items';
END
$body$;
COMMENT ON FUNCTION user_bridge.exchange_states(jsonb, xid8, jsonb, user_bridge.settings, timestamptz) IS
    'Sends desired states with a growing version; returns one outcome an item, in their order.';

CREATE OR REPLACE FUNCTION user_bridge.is_local(p_type text, p_id text, s user_bridge.settings) RETURNS boolean
LANGUAGE plpgsql STABLE AS $body$
BEGIN
    RETURN p_type = 'api_key'
           OR p_type = 'user_key' AND s.api_keys <> 'mirror' AND NOT EXISTS (
               SELECT FROM user_bridge.sync_mapping AS m WHERE m.litellm_type = 'user_key' AND m.litellm_id = p_id);
END
$body$;
COMMENT ON FUNCTION user_bridge.is_local(text, text, user_bridge.settings) IS
    'Whether nothing in Open WebUI stands for an entity: a key is only mapped, unless its token is mirrored.';

CREATE OR REPLACE FUNCTION user_bridge.standing_for_others() RETURNS text[]
LANGUAGE sql IMMUTABLE AS $body$
    SELECT ARRAY['email', 'team_name', 'team_roster']
$body$;
COMMENT ON FUNCTION user_bridge.standing_for_others() IS
    'Types of queue rows that name no entity of their own: an email and a team name stand for users (users_behind()), a '
    'roster for all who were members of a team when Open WebUI heard of it last.';

CREATE OR REPLACE FUNCTION user_bridge.enqueue_for_drain(p_type text, p_ids text[]) RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    INSERT INTO user_bridge.sync_queue (entity_type, entity_id)
    SELECT p_type, k.id FROM unnest(p_ids) AS k(id)
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        PERFORM setval('user_bridge.backlog', 2);
    END IF;
END
$body$;
COMMENT ON FUNCTION user_bridge.enqueue_for_drain(text, text[]) IS
    'Queues what a delivery found out about others: their locks cannot be taken in order any more.';

CREATE OR REPLACE FUNCTION user_bridge.members_there(p_types text[], p_ids text[], p_deadline timestamptz)
RETURNS TABLE (entity_type text, entity_id text)
LANGUAGE plpgsql AS $body$
BEGIN
    RETURN QUERY
    SELECT m ->> 0, m ->> 1
      FROM jsonb_array_elements(user_bridge.call_target(jsonb_build_object('members_of', (
               SELECT jsonb_agg(jsonb_build_array(g.type, g.id)) FROM unnest(p_types, p_ids) AS g(type, id))),
           p_deadline) -> 'members') AS m;
END
$body$;
COMMENT ON FUNCTION user_bridge.members_there(text[], text[], timestamptz) IS
    'Every membership of these groups that Open WebUI''s side knows.';

CREATE OR REPLACE FUNCTION user_bridge.enqueue_rosters(p_teams text[], p_deadline timestamptz) RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    PERFORM user_bridge.enqueue_for_drain('team_member', array(
        SELECT m.entity_id
          FROM user_bridge.members_there(array_fill('team'::text, ARRAY[cardinality(p_teams)]), p_teams, p_deadline) AS m));
END
$body$;
COMMENT ON FUNCTION user_bridge.enqueue_rosters(text[], timestamptz) IS
    'Queues every membership of these teams that Open WebUI''s side knows.';

CREATE OR REPLACE FUNCTION user_bridge.removal_facts(p_items jsonb, p_txid xid8) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $body$
BEGIN
    IF NOT p_items @? '$[*] ? (@.desired == null)' THEN
        RETURN '{}'::jsonb;
    END IF;
    -- A drain takes the queue in portions: all that waits counts, parked or not, or each portion or the last would pass.
    RETURN jsonb_build_object(
        'source_is_empty', NOT EXISTS (
            SELECT FROM public."LiteLLM_UserTable" AS u WHERE u.user_id <> 'default_user_id'),
        'removals_pending', CASE WHEN p_txid IS NULL THEN (
            SELECT count(DISTINCT q.entity_id)
              FROM user_bridge.sync_queue AS q
              JOIN user_bridge.sync_mapping AS m ON m.litellm_type = 'user' AND m.litellm_id = q.entity_id
             WHERE q.entity_type = 'user' AND NOT q.approved
               AND NOT EXISTS (SELECT FROM public."LiteLLM_UserTable" AS u WHERE u.user_id = q.entity_id)) END);
END
$body$;
COMMENT ON FUNCTION user_bridge.removal_facts(jsonb, xid8) IS
    'What the removal guard on Open WebUI''s side must know of LiteLLM''s; {} when nothing is removed.';

CREATE OR REPLACE FUNCTION user_bridge.deliver_locked(
    p_types text[], p_ids text[], p_txid xid8, p_approved boolean, s user_bridge.settings, p_deadline timestamptz)
RETURNS jsonb
LANGUAGE plpgsql AS $body$
DECLARE
    v_items jsonb;
    v_done jsonb;
    v_affected jsonb;
    v_outcomes jsonb := '[]'::jsonb;
BEGIN
    -- Accounts that go make room (an email) for those that come; groups and users come before memberships.
    SELECT jsonb_agg(i.item ORDER BY d.desired IS NOT NULL, d.entity_type LIKE '%\_member', d.entity_type, d.entity_id)
               FILTER (WHERE NOT i.local),
           jsonb_agg(i.item || jsonb_build_object(
                         'status', CASE WHEN d.skipped IS NULL THEN 'SUCCESS' ELSE 'SKIPPED' END,
                         'openwebui_id', d.desired -> 'openwebui_id')) FILTER (WHERE i.local),
           jsonb_agg(d.affected) FILTER (WHERE d.affected <> '{}')
      INTO v_items, v_done, v_affected
      FROM user_bridge.desired_states(p_types, p_ids) AS d
     CROSS JOIN LATERAL (SELECT jsonb_build_object('type', d.entity_type, 'id', d.entity_id,
                                                   'desired', d.desired, 'skipped', d.skipped) AS item,
                                d.entity_type LIKE '%\_key'
                            AND user_bridge.is_local(d.entity_type, d.entity_id, s) AS local) AS i;
    IF v_affected IS NOT NULL OR p_types && user_bridge.standing_for_others() THEN
        -- Seen only now, under the locks; what was seen before is among the entities.
        PERFORM user_bridge.enqueue_for_drain('user', array(
            SELECT jsonb_array_elements_text(a) FROM jsonb_array_elements(v_affected) AS a
             UNION
            SELECT user_bridge.users_behind(p_types, p_ids)
            EXCEPT
            SELECT k.id FROM unnest(p_types, p_ids) AS k(type, id) WHERE k.type = 'user'));
    END IF;
    IF 'team_roster' = ANY (p_types) THEN
        PERFORM user_bridge.enqueue_rosters(
            array(SELECT k.id FROM unnest(p_types, p_ids) AS k(type, id) WHERE k.type = 'team_roster'), p_deadline);
    END IF;
    IF v_items IS NOT NULL THEN
        v_outcomes := user_bridge.exchange_states(v_items, p_txid,
            CASE WHEN p_approved THEN '{"approved": true}' ELSE user_bridge.removal_facts(v_items, p_txid) END,
            s, p_deadline);
    END IF;
    RETURN coalesce(v_done, '[]') || coalesce((
        SELECT jsonb_agg(jsonb_build_object('type', k.type, 'id', k.id, 'status', 'SUCCESS'))
          FROM unnest(p_types, p_ids) AS k(type, id)
         WHERE k.type = ANY (user_bridge.standing_for_others())), '[]') || coalesce((
        -- A mirrored token stops here: what follows is written down.
        SELECT jsonb_agg(i.item #- '{desired,token}' || o.outcome)
          FROM jsonb_array_elements(v_items) WITH ORDINALITY AS i(item, ord)
          JOIN jsonb_array_elements(v_outcomes) WITH ORDINALITY AS o(outcome, ord) USING (ord)), '[]');
END
$body$;
COMMENT ON FUNCTION user_bridge.deliver_locked(text[], text[], xid8, boolean, user_bridge.settings, timestamptz) IS
    'Computes the state of locked entities and applies it on Open WebUI''s side in one round trip; returns items and '
    'outcomes, merged. A p_txid is journalled there: should it abort after all, its entities are sent again.';

CREATE OR REPLACE FUNCTION user_bridge.deliver(
    p_types text[], p_ids text[], p_txid xid8, p_approved boolean, s user_bridge.settings, p_deadline timestamptz)
RETURNS jsonb
LANGUAGE plpgsql AS $body$
BEGIN
    PERFORM user_bridge.lock_entities(p_types, p_ids, p_deadline);
    -- Statements of their own: their snapshots must be younger than the locks.
    RETURN user_bridge.deliver_locked(p_types, p_ids, p_txid, p_approved, s, p_deadline);
END
$body$;
COMMENT ON FUNCTION user_bridge.deliver(text[], text[], xid8, boolean, user_bridge.settings, timestamptz) IS
    'Locks the entities, waiting until the deadline, and delivers them.';

-- litellm/51_outcome.sql.j2
CREATE OR REPLACE FUNCTION user_bridge.operation(p_type text, p_gone boolean) RETURNS text
LANGUAGE sql IMMUTABLE AS $body$
    SELECT CASE WHEN p_gone THEN 'DELETE_' ELSE 'SYNC_' END || CASE
        WHEN p_type = 'organization' THEN 'ORG'
        WHEN p_type LIKE '%\_member' THEN 'MEMBER'
        WHEN p_type = 'user_key' THEN 'API_KEY_MIRROR'
        ELSE upper(p_type)
    END
$body$;
COMMENT ON FUNCTION user_bridge.operation(text, boolean) IS
    'The name of an operation in sync_audit, as people have queried it since the upstream SQL scripts.';

CREATE OR REPLACE FUNCTION user_bridge.openwebui_type(p_type text) RETURNS text
LANGUAGE sql IMMUTABLE AS $body$
    SELECT CASE p_type
        WHEN 'user' THEN 'user'
        WHEN 'organization' THEN 'group'
        WHEN 'team' THEN 'group'
        WHEN 'api_key' THEN 'user_api_key'
        WHEN 'user_key' THEN 'user_api_key'
    END
$body$;
COMMENT ON FUNCTION user_bridge.openwebui_type(text) IS
    'What stands for an entity in Open WebUI, as sync_mapping names it; NULL where no row of its own does.';

CREATE OR REPLACE FUNCTION user_bridge.forget_mapping(p_outcomes jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $body$
DECLARE
    v_gone jsonb;
BEGIN
    WITH leaving AS MATERIALIZED (
        -- On its own, and asked for first: a plan made for an empty mapping would go through all of it on each delivery.
        SELECT o.type, o.id
          FROM jsonb_to_recordset(p_outcomes) AS o(type text, id text, status text, openwebui_id text)
         WHERE o.openwebui_id IS NULL AND o.status NOT IN ('FAILED', 'PARKED', 'DEFERRED')
    ), gone AS (
        DELETE FROM user_bridge.sync_mapping AS m
         USING leaving AS l
         WHERE m.litellm_type = l.type AND m.litellm_id = l.id AND EXISTS (SELECT FROM leaving)
        RETURNING m.litellm_type, m.litellm_id, m.sync_data
    )
    SELECT coalesce(jsonb_agg(g), '[]') INTO v_gone FROM gone AS g;
    RETURN v_gone;
END
$body$;
COMMENT ON FUNCTION user_bridge.forget_mapping(jsonb) IS
    'Takes from sync_mapping what stands for nothing in Open WebUI any more, and returns it.';

CREATE OR REPLACE FUNCTION user_bridge.record_outcomes(p_outcomes jsonb) RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    v_gone jsonb := '[]'::jsonb;
    v_users text[];
BEGIN
    IF p_outcomes @? '$[*] ? (!exists (@.openwebui_id ? (@ != null)))' THEN
        v_gone := user_bridge.forget_mapping(p_outcomes);
    END IF;
    WITH o AS (
        SELECT x.* FROM jsonb_to_recordset(p_outcomes) AS x(
            type text, id text, desired jsonb, skipped text, status text, openwebui_id text, message text)
         WHERE x.status <> 'DEFERRED' AND x.type <> ALL (user_bridge.standing_for_others())
    ), there AS (
        INSERT INTO user_bridge.sync_mapping AS m (litellm_type, litellm_id, openwebui_type, openwebui_id, sync_data)
        SELECT o.type, o.id, user_bridge.openwebui_type(o.type), o.openwebui_id,
               coalesce(o.desired - 'openwebui_id', '{}')
          FROM o
         WHERE o.openwebui_id IS NOT NULL AND o.status <> 'PARKED'
        ON CONFLICT (litellm_type, litellm_id) DO UPDATE
           SET openwebui_id = excluded.openwebui_id, sync_data = excluded.sync_data,
               -- Another account is as good as a new mapping: the keys follow it.
               created_at = CASE m.openwebui_id WHEN excluded.openwebui_id THEN m.created_at ELSE excluded.created_at END,
               updated_at = CASE m.openwebui_id WHEN excluded.openwebui_id THEN clock_timestamp() ELSE excluded.updated_at END
         WHERE (m.openwebui_id, m.sync_data) IS DISTINCT FROM (excluded.openwebui_id, excluded.sync_data)
        RETURNING m.litellm_type, m.litellm_id, m.created_at = m.updated_at AS is_new
    ), written AS (
        INSERT INTO user_bridge.sync_audit (operation, record_id, sync_result, old_data, new_data, error_message)
        SELECT user_bridge.operation(o.type, o.desired IS NULL AND o.skipped IS NULL), o.id,
               CASE o.status WHEN 'PARKED' THEN 'WARNING' ELSE o.status END,
               gone.sync_data, o.desired, coalesce(o.message, o.skipped)
          FROM o
          LEFT JOIN jsonb_to_recordset(v_gone) AS gone(litellm_type text, litellm_id text, sync_data jsonb)
                 ON gone.litellm_type = o.type AND gone.litellm_id = o.id
         -- Without a mirror there is nothing to say about it.
         WHERE o.type <> 'user_key' OR o.openwebui_id IS NOT NULL OR gone.litellm_id IS NOT NULL OR o.status = 'FAILED'
    )
    SELECT array_agg(t.litellm_id) INTO v_users FROM there AS t WHERE t.is_new AND t.litellm_type = 'user';
    v_users := v_users || array(SELECT g ->> 'litellm_id' FROM jsonb_array_elements(v_gone) AS g
                                 WHERE g ->> 'litellm_type' = 'user');
    IF v_users <> '{}' THEN
        PERFORM user_bridge.enqueue_keys_of(v_users);
    END IF;
END
$body$;
COMMENT ON FUNCTION user_bridge.record_outcomes(jsonb) IS 'Writes outcomes of deliver() to sync_mapping and sync_audit.';

CREATE OR REPLACE FUNCTION user_bridge.enqueue_keys_of(p_users text[]) RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    PERFORM user_bridge.enqueue_for_drain('api_key', array_agg(user_bridge.key_id(t.user_id, t.token))),
            user_bridge.enqueue_for_drain('user_key', array_agg(DISTINCT t.user_id))
       FROM public."LiteLLM_VerificationToken" AS t
      WHERE t.user_id = ANY (p_users)
     HAVING count(*) > 0;
END
$body$;
COMMENT ON FUNCTION user_bridge.enqueue_keys_of(text[]) IS
    'Queues the keys of users whose account has come or gone: a key without an account is mapped to nothing.';

CREATE OR REPLACE FUNCTION user_bridge.retry_pause(p_attempts integer, p_backoff_seconds integer) RETURNS interval
LANGUAGE sql IMMUTABLE AS $body$
    SELECT make_interval(secs => least(3600, p_backoff_seconds * 2.0 ^ least(p_attempts, 12)))
$body$;
COMMENT ON FUNCTION user_bridge.retry_pause(integer, integer) IS
    'The pause before the next attempt at one failing entity: doubles each time, at most an hour.';

CREATE OR REPLACE FUNCTION user_bridge.settle(p_outcomes jsonb, p_txids xid8[], s user_bridge.settings)
RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    PERFORM user_bridge.record_outcomes(p_outcomes);
    DELETE FROM user_bridge.sync_queue AS q
     WHERE q.txid = ANY (p_txids)
       -- IS TRUE keeps this from becoming a join, which compares each with each when it is planned for an empty queue.
       AND ((q.entity_type, q.entity_id) IN (
               SELECT o.type, o.id
                 FROM jsonb_to_recordset(p_outcomes) AS o(type text, id text, status text, retry boolean)
                WHERE o.status IN ('SUCCESS', 'SKIPPED', 'WARNING') AND o.retry IS NOT TRUE)) IS TRUE;
    IF p_outcomes @? '$[*] ? (@.status == "FAILED" || @.status == "DEFERRED" || @.status == "PARKED" || @.retry == true)' THEN
        PERFORM setval('user_bridge.backlog', 2);
        UPDATE user_bridge.sync_queue AS q
           SET attempts = q.attempts + 1,
               next_attempt_at = clock_timestamp() + user_bridge.retry_pause(q.attempts, s.backoff_seconds),
               parked_at = CASE o.status WHEN 'PARKED' THEN clock_timestamp() END,
               last_sqlstate = o.sqlstate,
               last_error = o.message
          FROM jsonb_to_recordset(p_outcomes)
               AS o(type text, id text, status text, message text, sqlstate text, retry boolean)
         WHERE q.txid = ANY (p_txids) AND q.entity_type = o.type AND q.entity_id = o.id
           AND (o.status IN ('FAILED', 'PARKED') OR o.retry);
    END IF;
END
$body$;
COMMENT ON FUNCTION user_bridge.settle(jsonb, xid8[], user_bridge.settings) IS
    'Records outcomes, and takes from the queue what these transactions queued and what is done.';

CREATE OR REPLACE FUNCTION user_bridge.note_failure(p_txids xid8[], p_sqlstate text, p_error text, s user_bridge.settings)
RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    PERFORM setval('user_bridge.backlog', 2);
    IF p_sqlstate IN ('UB001', 'UB002') THEN
        PERFORM setval('user_bridge.breaker_until',
            (extract(epoch FROM clock_timestamp()) * 1000)::bigint + s.backoff_seconds * 1000);
    END IF;
    UPDATE user_bridge.sync_queue AS q
       SET attempts = q.attempts + 1, last_sqlstate = p_sqlstate, last_error = p_error
     WHERE q.txid = ANY (p_txids);
END
$body$;
COMMENT ON FUNCTION user_bridge.note_failure(xid8[], text, text, user_bridge.settings) IS
    'A delivery failed as a whole: names the error in the queue; an unreachable target opens the breaker.';

-- litellm/52_commit.sql.j2
CREATE OR REPLACE FUNCTION user_bridge.breaker_is_open() RETURNS boolean
LANGUAGE sql VOLATILE AS $body$
    SELECT coalesce(pg_sequence_last_value('user_bridge.breaker_until'), 0)
           > extract(epoch FROM clock_timestamp()) * 1000
$body$;
COMMENT ON FUNCTION user_bridge.breaker_is_open() IS 'Whether COMMITs only queue because the target did not answer lately.';

CREATE OR REPLACE FUNCTION user_bridge.queued_by(p_txid xid8, p_limit integer, OUT types text[], OUT ids text[])
LANGUAGE plpgsql AS $body$
BEGIN
    SELECT array_agg(q.entity_type), array_agg(q.entity_id) INTO types, ids
      FROM (SELECT entity_type, entity_id FROM user_bridge.sync_queue WHERE txid = p_txid LIMIT p_limit + 1) AS q;
END
$body$;
COMMENT ON FUNCTION user_bridge.queued_by(xid8, integer) IS
    'What a transaction queued: all of it, or one entity more than p_limit.';

CREATE OR REPLACE FUNCTION user_bridge.deliver_transaction(s user_bridge.settings) RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    v_txid CONSTANT xid8 := pg_current_xact_id();
    v_deadline CONSTANT timestamptz := clock_timestamp() + s.target_timeout_ms * interval '1 millisecond';
    v_types text[];
    v_ids text[];
BEGIN
    IF s.paused OR s.delivery <> 'commit' OR user_bridge.breaker_is_open()
       -- Above READ COMMITTED the snapshot is older than the entity locks: it would lose others' changes.
       OR current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        PERFORM setval('user_bridge.backlog', 2);
        RETURN;
    END IF;
    PERFORM user_bridge.hold_tables();
    SELECT q.types, q.ids INTO v_types, v_ids FROM user_bridge.queued_by(v_txid, s.inline_limit) AS q;
    IF cardinality(v_ids) <= s.inline_limit AND v_types && user_bridge.standing_for_others() THEN
        -- Whose name or email another row of the transaction decides is delivered with it.
        INSERT INTO user_bridge.sync_queue (entity_type, entity_id)
        SELECT 'user', u FROM user_bridge.users_behind(v_types, v_ids) AS u LIMIT s.inline_limit + 1
        ON CONFLICT DO NOTHING;
        SELECT q.types, q.ids INTO v_types, v_ids FROM user_bridge.queued_by(v_txid, s.inline_limit) AS q;
    END IF;
    IF cardinality(v_ids) > s.inline_limit THEN
        PERFORM setval('user_bridge.backlog', 2);
    ELSIF cardinality(v_ids) > 0 THEN
        PERFORM user_bridge.settle(
            user_bridge.deliver(v_types, v_ids, v_txid, false, s, v_deadline), ARRAY[v_txid], s);
        -- The target is well: whoever is first takes a little of what others had to leave.
        IF pg_sequence_last_value('user_bridge.backlog') > 1 THEN
            PERFORM user_bridge.deliver_backlog(v_txid, s, v_deadline);
        END IF;
    END IF;
END
$body$;
COMMENT ON FUNCTION user_bridge.deliver_transaction(user_bridge.settings) IS
    'Delivers what this transaction queued, unless it is to be left to the drain.';

CREATE OR REPLACE FUNCTION user_bridge.deliver_on_commit() RETURNS trigger
-- Planning anew on each COMMIT would cost more than all the work there is.
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET client_min_messages = error
-- A table that row-level security hides must be an error, never an empty table: that would remove everybody.
SET plan_cache_mode = force_generic_plan SET jit = off SET row_security = off
-- Such a plan can be from a time when the tables were small.
SET enable_seqscan = off AS $body$
DECLARE
    s user_bridge.settings;
    v_error text;
    v_state text;
BEGIN
    -- After SET CONSTRAINTS ... IMMEDIATE the transaction goes on, and its next change must wake us again.
    PERFORM set_config('user_bridge.woken', '', true);
    SELECT * INTO s FROM user_bridge.settings;
    PERFORM user_bridge.deliver_transaction(s);
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS v_state = RETURNED_SQLSTATE, v_error = MESSAGE_TEXT;
    BEGIN
        PERFORM user_bridge.note_failure(ARRAY[pg_current_xact_id()], v_state, v_error, s);
    EXCEPTION WHEN OTHERS THEN
        NULL;  -- The rows stay queued without a reason; LiteLLM's COMMIT goes on.
    END;
    RETURN NULL;
END
$body$;
COMMENT ON FUNCTION user_bridge.deliver_on_commit() IS
    'Runs once at the end of each LiteLLM transaction that queued something; never fails it.';

-- The condition is checked when a row is queued, so all but the first row of a transaction cost nothing at COMMIT.
CREATE CONSTRAINT TRIGGER user_bridge_deliver AFTER INSERT ON user_bridge.sync_queue
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.wakes)
    EXECUTE FUNCTION user_bridge.deliver_on_commit();

-- litellm/53_backlog.sql.j2
-- Without a timer, too, the queue must empty itself once the target is back. Commits do it, each a little, and never
-- wait for anything: neither for a queue row that a drain holds, nor for an entity that another commit delivers.

CREATE OR REPLACE FUNCTION user_bridge.lock_without_waiting(p_type text, p_id text) RETURNS boolean
LANGUAGE plpgsql AS $body$
BEGIN
    RETURN (SELECT coalesce(bool_and(user_bridge.try_lock(k.key, k.shared)), true)
              FROM user_bridge.lock_keys(ARRAY[p_type], ARRAY[p_id]) AS k);
END
$body$;
COMMENT ON FUNCTION user_bridge.lock_without_waiting(text, text) IS 'Locks an entity if nobody has it.';

CREATE OR REPLACE FUNCTION user_bridge.deliver_backlog(p_txid xid8, s user_bridge.settings, p_deadline timestamptz)
RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    c_entities CONSTANT integer := 20;
    c_now CONSTANT bigint := (extract(epoch FROM clock_timestamp()) * 1000)::bigint;
    v_txids xid8[];
    v_types text[];
    v_ids text[];
    v_state text;
    v_error text;
BEGIN
    IF c_now < pg_sequence_last_value('user_bridge.backlog') THEN
        RETURN;
    END IF;
    -- One commit in 200 ms: a queue of failing rows must not cost each commit a search through it.
    PERFORM setval('user_bridge.backlog', c_now + 200);
    WITH queued AS MATERIALIZED (
        SELECT q.txid, q.entity_type, q.entity_id
          FROM user_bridge.sync_queue AS q
         WHERE q.txid <> p_txid AND q.parked_at IS NULL AND NOT q.approved
           AND (q.next_attempt_at IS NULL OR q.next_attempt_at <= clock_timestamp())
         LIMIT c_entities FOR UPDATE SKIP LOCKED
    ), locked AS MATERIALIZED (
        SELECT e.* FROM (SELECT DISTINCT q.entity_type, q.entity_id FROM queued AS q) AS e
         WHERE user_bridge.lock_without_waiting(e.entity_type, e.entity_id)
    )
    SELECT array_agg(e.entity_type), array_agg(e.entity_id),
           (SELECT array_agg(DISTINCT q.txid) FROM queued AS q JOIN locked USING (entity_type, entity_id))
      INTO v_types, v_ids, v_txids
      FROM locked AS e;
    IF v_ids IS NULL THEN
        RETURN;
    END IF;
    BEGIN
        PERFORM user_bridge.settle(
            user_bridge.deliver_locked(v_types, v_ids, NULL, false, s, p_deadline), v_txids, s);
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS v_state = RETURNED_SQLSTATE, v_error = MESSAGE_TEXT;
        IF v_state IN ('UB001', 'UB002') THEN
            PERFORM user_bridge.note_failure('{}', v_state, v_error, s);
        END IF;
        -- Anything else is for the drain, which finds out which of them it is.
    END;
END
$body$;
COMMENT ON FUNCTION user_bridge.deliver_backlog(xid8, user_bridge.settings, timestamptz) IS
    'Delivers up to 20 entities that others left in the queue, after a transaction''s own have been delivered.';

-- litellm/59_journal.sql.j2
CREATE OR REPLACE FUNCTION user_bridge.transaction_outcome(p_txid text) RETURNS text
LANGUAGE plpgsql STABLE AS $body$
BEGIN
    -- NULL: so long ago that PostgreSQL has forgotten.
    RETURN coalesce(pg_xact_status(p_txid::xid8), 'unknown');
EXCEPTION WHEN OTHERS THEN
    RETURN 'unknown';  -- In the future: a transaction of the server this one was restored from.
END
$body$;
COMMENT ON FUNCTION user_bridge.transaction_outcome(text) IS 'committed, aborted, in progress or unknown.';

CREATE OR REPLACE FUNCTION user_bridge.settle_journal(p_entries jsonb, p_deadline timestamptz) RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    c_crashed CONSTANT boolean := NOT EXISTS (SELECT FROM user_bridge.uncrashed);
    v_committed jsonb;
BEGIN
    PERFORM user_bridge.enqueue(again.type, array_agg(again.id))
       FROM (SELECT e.type, e.id
               FROM jsonb_to_recordset(p_entries) AS e(type text, id text, txid text)
              WHERE c_crashed OR user_bridge.transaction_outcome(e.txid) IN ('aborted', 'unknown')
             EXCEPT
             SELECT q.entity_type, q.entity_id FROM user_bridge.sync_queue AS q) AS again
      GROUP BY again.type;
    SELECT jsonb_agg(e) INTO v_committed
      FROM jsonb_array_elements(p_entries) AS e
     WHERE NOT c_crashed AND user_bridge.transaction_outcome(e ->> 'txid') = 'committed';
    IF v_committed IS NOT NULL THEN
        PERFORM user_bridge.call_target(jsonb_build_object('confirm', v_committed), p_deadline);
    END IF;
END
$body$;
COMMENT ON FUNCTION user_bridge.settle_journal(jsonb, timestamptz) IS
    'Queues again what transactions delivered that did not commit after all, and confirms those that did.';

-- litellm/60_drain.sql.j2
CREATE OR REPLACE FUNCTION user_bridge.drain(p_limit integer DEFAULT 100, p_due_only boolean DEFAULT false)
RETURNS TABLE (entity_type text, entity_id text, result text, error_message text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET client_min_messages = error
SET plan_cache_mode = force_generic_plan SET jit = off SET row_security = off AS $body$
DECLARE
    s user_bridge.settings;
    v_approved boolean;
    v_txids xid8[];
    v_types text[];
    v_ids text[];
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION 'drain() needs a READ COMMITTED transaction: an older snapshot would deliver an older state';
    END IF;
    SELECT * INTO s FROM user_bridge.settings;
    IF s.paused THEN
        RETURN;
    END IF;
    BEGIN
        PERFORM user_bridge.hold_tables();
    EXCEPTION WHEN lock_not_available THEN
        RETURN;  -- LiteLLM is being migrated; everything stays queued.
    WHEN OTHERS THEN
        NULL;  -- A table or a right is gone: what follows says so, entity by entity.
    END;
    PERFORM user_bridge.look_at_target(s);
    v_approved := EXISTS (SELECT FROM user_bridge.queued_entities(1, p_due_only, true));
    WITH queued AS MATERIALIZED (SELECT * FROM user_bridge.queued_entities(p_limit, p_due_only, v_approved)),
         entities AS (SELECT DISTINCT q.entity_type, q.entity_id FROM queued AS q)
    SELECT array_agg(e.entity_type), array_agg(e.entity_id), (SELECT array_agg(DISTINCT q.txid) FROM queued AS q)
      INTO v_types, v_ids, v_txids
      FROM entities AS e;
    IF v_ids IS NULL THEN
        PERFORM setval('user_bridge.backlog', 1) WHERE NOT EXISTS (SELECT FROM user_bridge.sync_queue);
        RETURN;
    END IF;
    RETURN QUERY
    SELECT o.type, o.id, o.status, coalesce(o.message, o.skipped)
      FROM jsonb_to_recordset(user_bridge.drain_entities(v_types, v_ids, v_txids, v_approved, s))
           AS o(type text, id text, status text, message text, skipped text);
END
$body$;
COMMENT ON FUNCTION user_bridge.drain(integer, boolean) IS
    'Delivers up to p_limit queued entities and returns their results; p_due_only leaves out those whose pause after '
    'a failure is not over. Call it again while it returns rows; a COMMIT between calls frees the entities'' locks.';

CREATE OR REPLACE FUNCTION user_bridge.drain_entities(
    p_types text[], p_ids text[], p_txids xid8[], p_approved boolean, s user_bridge.settings)
RETURNS jsonb
LANGUAGE plpgsql AS $body$
DECLARE
    c_few CONSTANT integer := 20;
    v_outcomes jsonb;
    v_state text;
    v_error text;
BEGIN
    BEGIN
        v_outcomes := user_bridge.deliver(p_types, p_ids, NULL, p_approved, s,
            clock_timestamp() + s.target_timeout_ms * interval '1 millisecond');
        PERFORM user_bridge.settle(v_outcomes, p_txids, s);
        PERFORM setval('user_bridge.breaker_until', 1);
        RETURN v_outcomes;
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS v_state = RETURNED_SQLSTATE, v_error = MESSAGE_TEXT;
    END;
    IF v_state = 'UB002' AND cardinality(p_ids) > c_few THEN
        -- May be only too many at once for a target that is slow today: the others come with the next call.
        RETURN user_bridge.drain_entities(p_types[:c_few], p_ids[:c_few], p_txids, p_approved, s);
    ELSIF v_state IN ('UB001', 'UB002') THEN
        PERFORM user_bridge.note_failure(p_txids, v_state, v_error, s);
    ELSIF cardinality(p_ids) > 1 THEN
        RETURN user_bridge.drain_one_by_one(p_types, p_ids, p_txids, p_approved, s);
    ELSE
        PERFORM user_bridge.settle(jsonb_build_array(jsonb_build_object('type', p_types[1], 'id', p_ids[1],
            'status', 'FAILED', 'sqlstate', v_state, 'message', v_error)), p_txids, s);
    END IF;
    RETURN (SELECT jsonb_agg(jsonb_build_object(
                       'type', k.type, 'id', k.id, 'status', 'FAILED', 'sqlstate', v_state, 'message', v_error))
              FROM unnest(p_types, p_ids) AS k(type, id));
END
$body$;
COMMENT ON FUNCTION user_bridge.drain_entities(text[], text[], xid8[], boolean, user_bridge.settings) IS
    'Delivers entities together and, where LiteLLM''s side fails, one by one; returns their outcomes.';

CREATE OR REPLACE FUNCTION user_bridge.drain_one_by_one(
    p_types text[], p_ids text[], p_txids xid8[], p_approved boolean, s user_bridge.settings)
RETURNS jsonb
LANGUAGE plpgsql AS $body$
DECLARE
    v_type text;
    v_id text;
    v_outcome jsonb;
    v_outcomes jsonb := '[]'::jsonb;
BEGIN
    FOR v_type, v_id IN SELECT k.type, k.id FROM unnest(p_types, p_ids) AS k(type, id) LOOP
        v_outcome := user_bridge.drain_entities(ARRAY[v_type], ARRAY[v_id], p_txids, p_approved, s);
        v_outcomes := v_outcomes || v_outcome;
        -- Each of the others would wait for its own timeout.
        EXIT WHEN v_outcome #>> '{0,sqlstate}' IN ('UB001', 'UB002');
    END LOOP;
    RETURN v_outcomes;
END
$body$;
COMMENT ON FUNCTION user_bridge.drain_one_by_one(text[], text[], xid8[], boolean, user_bridge.settings) IS
    'Finds out which of several entities fails, so that it holds up none of the others; returns their outcomes.';

CREATE OR REPLACE FUNCTION user_bridge.look_at_target(s user_bridge.settings) RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    c_entries CONSTANT integer := 10000;
    v_reply jsonb;
BEGIN
    v_reply := user_bridge.call_target(jsonb_build_object('unconfirmed', c_entries),
        clock_timestamp() + s.target_timeout_ms * interval '1 millisecond');
    PERFORM user_bridge.settle_journal(v_reply -> 'unconfirmed',
        clock_timestamp() + s.target_timeout_ms * interval '1 millisecond');
    IF jsonb_array_length(v_reply -> 'unconfirmed') < c_entries THEN
        INSERT INTO user_bridge.uncrashed SELECT true WHERE NOT EXISTS (SELECT FROM user_bridge.uncrashed);
    END IF;
    PERFORM user_bridge.retry_on_new_schema(v_reply ->> 'schema_mark');
EXCEPTION WHEN OTHERS THEN
    NULL;  -- The target is away: what follows says so, entity by entity, and the journal waits.
END
$body$;
COMMENT ON FUNCTION user_bridge.look_at_target(user_bridge.settings) IS
    'Settles the journal, and ends the pauses of failing entities when Open WebUI''s tables have changed.';

CREATE OR REPLACE FUNCTION user_bridge.retry_on_new_schema(p_mark text) RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    UPDATE user_bridge.target AS t SET schema_mark = p_mark WHERE t.schema_mark <> p_mark;
    IF FOUND THEN
        UPDATE user_bridge.sync_queue AS q SET next_attempt_at = NULL WHERE q.next_attempt_at IS NOT NULL;
    ELSIF NOT EXISTS (SELECT FROM user_bridge.target) THEN
        INSERT INTO user_bridge.target (schema_mark) VALUES (p_mark) ON CONFLICT DO NOTHING;
    END IF;
END
$body$;
COMMENT ON FUNCTION user_bridge.retry_on_new_schema(text) IS
    'Makes every failing entity due when Open WebUI has been migrated: that may have been all it waited for.';

CREATE OR REPLACE FUNCTION user_bridge.queued_entities(p_limit integer, p_due_only boolean, p_approved boolean)
RETURNS TABLE (txid xid8, entity_type text, entity_id text)
LANGUAGE sql STABLE AS $body$
    WITH picked AS (
        SELECT q.entity_type, q.entity_id
          FROM user_bridge.sync_queue AS q
         WHERE q.parked_at IS NULL AND q.approved = p_approved
         GROUP BY q.entity_type, q.entity_id
        HAVING NOT p_due_only OR coalesce(max(q.next_attempt_at), '-infinity') <= clock_timestamp()
         ORDER BY max(q.next_attempt_at) NULLS FIRST, min(q.enqueued_at)
         LIMIT p_limit)
    SELECT q.txid, q.entity_type, q.entity_id
      FROM picked JOIN user_bridge.sync_queue AS q USING (entity_type, entity_id)
$body$;
COMMENT ON FUNCTION user_bridge.queued_entities(integer, boolean, boolean) IS
    'The queue rows of the next entities to deliver: those that never failed first, then the oldest.';

-- litellm/61_control.sql.j2
CREATE OR REPLACE FUNCTION user_bridge.pause() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
    UPDATE user_bridge.settings SET paused = true WHERE NOT paused
$body$;
COMMENT ON FUNCTION user_bridge.pause() IS 'From now on everything is queued, and nothing delivered, until resume().';

CREATE OR REPLACE FUNCTION user_bridge.resume() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
    UPDATE user_bridge.settings SET paused = false WHERE paused
$body$;
COMMENT ON FUNCTION user_bridge.resume() IS 'Ends pause(); what has been queued goes with the next drain.';

CREATE OR REPLACE FUNCTION user_bridge.all_entities() RETURNS TABLE (entity_type text, entity_id text)
LANGUAGE sql STABLE AS $body$
    SELECT 'organization', o.organization_id FROM public."LiteLLM_OrganizationTable" AS o
     UNION SELECT 'team', t.team_id FROM public."LiteLLM_TeamTable" AS t
     UNION SELECT 'user', u.user_id FROM public."LiteLLM_UserTable" AS u
     UNION SELECT 'organization_member', user_bridge.member_id(m.organization_id, m.user_id)
             FROM public."LiteLLM_OrganizationMembership" AS m
     UNION SELECT 'organization_member', user_bridge.member_id(u.organization_id, u.user_id)
             FROM public."LiteLLM_UserTable" AS u WHERE u.organization_id IS NOT NULL
     UNION SELECT 'team_member', user_bridge.member_id(t.team_id, m.user_id)
             FROM public."LiteLLM_TeamTable" AS t
            CROSS JOIN unnest(user_bridge.member_ids(t.members_with_roles)) AS m(user_id)
     UNION SELECT k.type, k.id
             FROM public."LiteLLM_VerificationToken" AS t
            CROSS JOIN LATERAL (VALUES ('api_key', user_bridge.key_id(t.user_id, t.token)),
                                       ('user_key', t.user_id)) AS k(type, id)
            WHERE t.user_id IS NOT NULL AND t.team_id IS DISTINCT FROM 'litellm-dashboard'
     -- What is gone from LiteLLM while nobody watched is known from the mappings only.
     UNION SELECT m.litellm_type, m.litellm_id FROM user_bridge.sync_mapping AS m
$body$;
COMMENT ON FUNCTION user_bridge.all_entities() IS 'Every entity that LiteLLM has, or had when it was last delivered.';

CREATE OR REPLACE FUNCTION user_bridge.enqueue_entities(p_types text[], p_ids text[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    v_count bigint;
BEGIN
    INSERT INTO user_bridge.sync_queue (entity_type, entity_id)
    SELECT DISTINCT k.type, k.id FROM unnest(p_types, p_ids) AS k(type, id)
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    PERFORM setval('user_bridge.backlog', 2) WHERE v_count > 0;
    RETURN v_count;
END
$body$;
COMMENT ON FUNCTION user_bridge.enqueue_entities(text[], text[]) IS
    'Queues entities for the drain, and returns how many; each is delivered as it is by then.';

CREATE OR REPLACE FUNCTION user_bridge.enqueue_everything() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $body$
    SELECT user_bridge.enqueue_entities(array_agg(e.entity_type), array_agg(e.entity_id))
      FROM user_bridge.all_entities() AS e
$body$;
COMMENT ON FUNCTION user_bridge.enqueue_everything() IS 'Queues every entity of LiteLLM''s for the drain, and returns how many.';

-- litellm/62_maintenance.sql.j2
CREATE OR REPLACE FUNCTION user_bridge.enqueue_expired_keys() RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    -- A key expires without a write that a trigger could see.
    PERFORM user_bridge.enqueue_for_drain('api_key', array_agg(m.litellm_id)),
            user_bridge.enqueue_for_drain('user_key', array_agg(DISTINCT m.litellm_id::jsonb ->> 0))
       FROM user_bridge.sync_mapping AS m
      WHERE m.litellm_type = 'api_key'
        AND (m.sync_data ->> 'expires')::timestamp <= timezone('UTC', clock_timestamp())
     HAVING count(*) > 0;
END
$body$;
COMMENT ON FUNCTION user_bridge.enqueue_expired_keys() IS 'Queues the mapped keys whose time is over.';

CREATE OR REPLACE FUNCTION user_bridge.expire_initial_passwords(s user_bridge.settings) RETURNS integer
LANGUAGE plpgsql AS $body$
DECLARE
    v_expired jsonb;
BEGIN
    v_expired := user_bridge.call_target(
        jsonb_build_object('expire_initial_passwords', s.initial_password_ttl_hours),
        clock_timestamp() + s.target_timeout_ms * interval '1 millisecond') -> 'expired';
    INSERT INTO user_bridge.sync_audit (operation, record_id, sync_result, error_message)
    SELECT 'EXPIRE_PASSWORD', e.id, 'SUCCESS',
           format('the initial password was unchanged after %s hours: it can no longer be used',
                  s.initial_password_ttl_hours)
      FROM jsonb_array_elements_text(v_expired) AS e(id);
    RETURN jsonb_array_length(v_expired);
END
$body$;
COMMENT ON FUNCTION user_bridge.expire_initial_passwords(user_bridge.settings) IS
    'Makes unusable what is still an initial password after its time, and says whose; returns how many.';

CREATE OR REPLACE FUNCTION user_bridge.maintain() RETURNS TABLE (task text, done bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET client_min_messages = error AS $body$
DECLARE
    s user_bridge.settings;
BEGIN
    SELECT * INTO s FROM user_bridge.settings;
    DELETE FROM user_bridge.sync_audit AS a WHERE a.created_at < now() - make_interval(days => s.audit_retention_days);
    GET DIAGNOSTICS done = ROW_COUNT;
    task := 'audit rows removed';
    RETURN NEXT;
    IF s.paused THEN
        RETURN;
    END IF;
    PERFORM user_bridge.enqueue_expired_keys();
    task := 'parked removals of what is back';
    done := user_bridge.release_returned();
    RETURN NEXT;
    task := 'initial passwords expired';
    done := user_bridge.expire_initial_passwords(s);
    RETURN NEXT;
END
$body$;
COMMENT ON FUNCTION user_bridge.maintain() IS
    'What the timer does beside drain(): expired keys, initial passwords, audit retention.';

-- litellm/63_migration.sql.j2
-- The module bridge_migration goes through the scope in this order, batch by batch, a COMMIT after each: what a
-- membership or a key stands on comes before it, and a run that was interrupted goes on where it was.

CREATE OR REPLACE FUNCTION user_bridge.migration_phase(p_type text) RETURNS integer
LANGUAGE sql IMMUTABLE AS $body$
    SELECT array_position(ARRAY['organization', 'team', 'user', 'organization_member', 'team_member', 'api_key',
                                'user_key'], p_type)
$body$;
COMMENT ON FUNCTION user_bridge.migration_phase(text) IS 'The place of a type of entity in the order of a migration.';

CREATE OR REPLACE FUNCTION user_bridge.migration_scope(p_organizations text[], p_teams text[], p_email_pattern text)
RETURNS TABLE (entity_type text, entity_id text)
LANGUAGE sql STABLE AS $body$
    WITH everything AS MATERIALIZED (
        SELECT * FROM user_bridge.all_entities()
    ), member AS MATERIALIZED (
        SELECT regexp_replace(e.entity_type, '_member$', '') AS group_type,
               e.entity_id::jsonb ->> 0 AS group_id, e.entity_id::jsonb ->> 1 AS user_id, e.entity_type, e.entity_id
          FROM everything AS e WHERE e.entity_type LIKE '%\_member'
    ), named_group AS MATERIALIZED (
        SELECT 'organization' AS group_type, o.organization_id AS group_id
          FROM public."LiteLLM_OrganizationTable" AS o
         WHERE p_organizations IS NULL AND p_teams IS NULL
            OR o.organization_id = ANY (p_organizations) OR o.organization_alias = ANY (p_organizations)
         UNION ALL
        SELECT 'team', t.team_id
          FROM public."LiteLLM_TeamTable" AS t
          LEFT JOIN public."LiteLLM_OrganizationTable" AS o USING (organization_id)
         WHERE p_organizations IS NULL AND p_teams IS NULL
            OR t.team_id = ANY (p_teams) OR t.team_alias = ANY (p_teams)
            OR o.organization_id = ANY (p_organizations) OR o.organization_alias = ANY (p_organizations)
    ), chosen_user AS MATERIALIZED (
        SELECT u.user_id
          FROM public."LiteLLM_UserTable" AS u
         WHERE (p_email_pattern IS NULL OR lower(u.user_email) LIKE p_email_pattern)
           AND (p_organizations IS NULL AND p_teams IS NULL
                OR u.user_id IN (SELECT m.user_id FROM member AS m JOIN named_group USING (group_type, group_id)))
    ), chosen_member AS MATERIALIZED (
        SELECT m.* FROM member AS m JOIN named_group USING (group_type, group_id) JOIN chosen_user USING (user_id)
    )
    SELECT g.group_type, g.group_id FROM named_group AS g
     WHERE p_email_pattern IS NULL
        OR (g.group_type, g.group_id) IN (SELECT m.group_type, m.group_id FROM chosen_member AS m)
     UNION ALL
    SELECT 'user', u.user_id FROM chosen_user AS u
     UNION ALL
    SELECT m.entity_type, m.entity_id FROM chosen_member AS m
     UNION ALL
    SELECT e.entity_type, e.entity_id FROM everything AS e
     WHERE e.entity_type = 'api_key' AND e.entity_id::jsonb ->> 0 IN (SELECT user_id FROM chosen_user)
        OR e.entity_type = 'user_key' AND e.entity_id IN (SELECT user_id FROM chosen_user)
$body$;
COMMENT ON FUNCTION user_bridge.migration_scope(text[], text[], text) IS
    'What there is to migrate: of the named organizations (with their teams) and teams, by id or alias, and of the users '
    'whose lower-cased email is LIKE the pattern; NULL for no such limit. Nothing that LiteLLM has no more.';

CREATE OR REPLACE FUNCTION user_bridge.queued_rows(p_types text[], p_ids text[])
RETURNS TABLE (txid xid8, entity_type text, entity_id text)
-- The key begins with the transaction, and the planner takes the arrays for ten elements: left alone, it compares each
-- with each, or goes through the index for each.
LANGUAGE sql STABLE SET enable_nestloop = off SET enable_seqscan = on AS $body$
    SELECT q.txid, q.entity_type, q.entity_id
      FROM user_bridge.sync_queue AS q
      JOIN unnest(p_types, p_ids) AS k(type, id) ON q.entity_type = k.type AND q.entity_id = k.id
     WHERE q.parked_at IS NULL
$body$;
COMMENT ON FUNCTION user_bridge.queued_rows(text[], text[]) IS 'The queue rows of these entities, but for parked removals.';

CREATE OR REPLACE FUNCTION user_bridge.never_brought(p_user_ids text[]) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET client_min_messages = error
SET row_security = off SET jit = off SET plan_cache_mode = force_custom_plan SET enable_seqscan = off AS $body$
BEGIN
    RETURN QUERY
    SELECT u.user_id
      FROM public."LiteLLM_UserTable" AS u
     WHERE u.user_id = ANY (p_user_ids)
       -- Not NOT EXISTS: nobody has counted yet how many mappings the migration has made, and a join would hash them all.
       AND (SELECT m.id FROM user_bridge.sync_mapping AS m
             WHERE m.litellm_type = 'user' AND m.litellm_id = u.user_id) IS NULL
       AND NOT EXISTS (SELECT FROM user_bridge.sync_audit AS a
                        WHERE a.record_id = u.user_id AND a.operation = user_bridge.operation('user', false)
                          AND a.sync_result = 'SKIPPED');
END
$body$;
COMMENT ON FUNCTION user_bridge.never_brought(text[]) IS
    'Users of whom migration_states() would say no more than pending, found at a fraction of its cost.';

CREATE OR REPLACE FUNCTION user_bridge.migration_states(p_types text[], p_ids text[])
RETURNS TABLE (entity_type text, entity_id text, state text, skipped text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET client_min_messages = error
-- A batch is never so large that going through all of a table would be worth it.
SET row_security = off SET jit = off SET plan_cache_mode = force_custom_plan SET enable_seqscan = off AS $body$
DECLARE
    s user_bridge.settings;
BEGIN
    SELECT * INTO s FROM user_bridge.settings;
    RETURN QUERY
    WITH wanted AS MATERIALIZED (
        SELECT d.entity_type, d.entity_id, d.desired, d.skipped, m.openwebui_id AS mapped,
               m.sync_data IS NOT NULL AND m.sync_data = d.desired - 'openwebui_id' AS as_delivered
          FROM user_bridge.desired_states(p_types, p_ids) AS d
          LEFT JOIN user_bridge.sync_mapping AS m ON m.litellm_type = d.entity_type AND m.litellm_id = d.entity_id
    ), refused AS MATERIALIZED (
        -- Skipped before, for what it is now.
        SELECT DISTINCT w.entity_type, w.entity_id
          FROM wanted AS w
          JOIN user_bridge.sync_audit AS a
            ON a.record_id = w.entity_id AND a.operation = user_bridge.operation(w.entity_type, false)
         WHERE w.mapped IS NULL AND a.sync_result = 'SKIPPED' AND a.new_data IS NOT DISTINCT FROM w.desired
    ), queued AS MATERIALIZED (
        SELECT DISTINCT q.entity_type, q.entity_id FROM user_bridge.queued_rows(p_types, p_ids) AS q
    ), asked AS MATERIALIZED (
        -- No mapping stands for a membership.
        SELECT jsonb_agg(jsonb_build_object('type', w.entity_type, 'id', w.entity_id, 'desired', w.desired,
                                            'mapped', w.mapped)) AS items
          FROM wanted AS w
         WHERE w.desired IS NOT NULL AND (w.entity_type LIKE '%\_member' OR w.mapped IS NOT NULL AND w.as_delivered)
           AND (w.entity_type NOT LIKE '%\_key' OR NOT user_bridge.is_local(w.entity_type, w.entity_id, s))
        HAVING count(*) > 0
    ), suspect AS MATERIALIZED (
        SELECT x.entity_type, x.entity_id FROM asked CROSS JOIN LATERAL user_bridge.suspicious(asked.items, s) AS x
    )
    SELECT w.entity_type, w.entity_id, CASE
               -- A removal is no migration.
               WHEN w.desired IS NULL AND w.mapped IS NOT NULL THEN 'done'
               -- An account of which something is refused for good, like the last admin's role, stays queued.
               WHEN queued.entity_id IS NOT NULL
                    AND NOT (w.as_delivered AND w.entity_type IN ('user', 'organization', 'team')) THEN 'pending'
               WHEN w.desired IS NULL AND w.skipped IS NULL THEN 'done'
               WHEN w.desired IS NULL THEN CASE WHEN refused.entity_id IS NULL THEN 'pending' ELSE 'done' END
               WHEN w.entity_type LIKE '%\_member' THEN CASE WHEN suspect.entity_id IS NULL THEN 'done' ELSE 'pending' END
               WHEN w.mapped IS NULL AND refused.entity_id IS NOT NULL THEN 'unclear'
               WHEN w.mapped IS NULL OR NOT w.as_delivered THEN 'pending'
               WHEN suspect.entity_id IS NOT NULL OR queued.entity_id IS NOT NULL THEN 'unclear'
               ELSE 'done'
           END, w.skipped
      FROM wanted AS w
      LEFT JOIN queued USING (entity_type, entity_id)
      LEFT JOIN refused USING (entity_type, entity_id)
      LEFT JOIN suspect USING (entity_type, entity_id);
END
$body$;
COMMENT ON FUNCTION user_bridge.migration_states(text[], text[]) IS
    'Whether entities are in sync: done, pending (to be delivered), or unclear: preview() knows whether there is '
    'anything to change. Changes nothing.';

CREATE OR REPLACE FUNCTION user_bridge.migrate_entities(p_types text[], p_ids text[])
RETURNS TABLE (entity_type text, entity_id text, result text, message text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET client_min_messages = error
-- A plan that was made for the empty tables of a new bridge would go through all of them for each batch.
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET row_security = off SET jit = off AS $body$
DECLARE
    s user_bridge.settings;
    v_txids xid8[];
    v_outcomes jsonb;
BEGIN
    SELECT * INTO s FROM user_bridge.settings;
    PERFORM user_bridge.hold_tables();
    -- Queued, so that what fails now is tried again by the timer.
    PERFORM user_bridge.enqueue_entities(p_types, p_ids);
    v_txids := array(SELECT DISTINCT q.txid FROM user_bridge.queued_rows(p_types, p_ids) AS q);
    v_outcomes := user_bridge.drain_entities(p_types, p_ids, v_txids, false, s);
    INSERT INTO user_bridge.sync_audit (operation, record_id, sync_result, error_message)
    SELECT 'MIGRATE_USER', o.id, o.status, coalesce(o.message, o.skipped)
      FROM jsonb_to_recordset(v_outcomes) AS o(type text, id text, status text, message text, skipped text)
     WHERE o.type = 'user' AND o.status IN ('SUCCESS', 'FAILED', 'SKIPPED', 'WARNING');
    RETURN QUERY
    SELECT o.type, o.id, o.status, coalesce(o.message, o.skipped)
      FROM jsonb_to_recordset(v_outcomes) AS o(type text, id text, status text, message text, skipped text);
END
$body$;
COMMENT ON FUNCTION user_bridge.migrate_entities(text[], text[]) IS
    'Delivers these entities now, and returns how each ended; what could not be delivered stays queued.';

CREATE OR REPLACE FUNCTION user_bridge.note_migration(p_operation text, p_data jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
    INSERT INTO user_bridge.sync_audit (operation, record_id, sync_result, new_data)
    VALUES (p_operation, 'batch_migration', 'SUCCESS', p_data)
$body$;
COMMENT ON FUNCTION user_bridge.note_migration(text, jsonb) IS 'Writes down that a migration began or ended.';

CREATE OR REPLACE FUNCTION user_bridge.migrate_existing_users()
RETURNS TABLE (user_id text, user_email text, sync_status text, error_message text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET client_min_messages = error AS $body$
DECLARE
    v_start CONSTANT bigint := (SELECT coalesce(max(a.id), 0) FROM user_bridge.sync_audit AS a);
    v_batch bigint;
BEGIN
    INSERT INTO user_bridge.sync_audit (operation, record_id, sync_result, new_data)
    VALUES ('MIGRATE_START', 'batch_migration', 'SUCCESS', jsonb_build_object('entities', user_bridge.enqueue_everything()));
    LOOP
        -- Only what is due: an account of which something was refused (the last admin's role) comes back after a pause.
        SELECT count(*) FILTER (WHERE d.result IN ('SUCCESS', 'SKIPPED', 'WARNING')) INTO v_batch
          FROM user_bridge.drain(500, true) AS d;
        EXIT WHEN v_batch = 0;
    END LOOP;
    RETURN QUERY
    INSERT INTO user_bridge.sync_audit AS a (operation, record_id, sync_result, new_data, error_message)
    SELECT DISTINCT ON (o.record_id) 'MIGRATE_USER', o.record_id, o.sync_result, o.new_data, o.error_message
      FROM user_bridge.sync_audit AS o
     WHERE o.id > v_start AND o.operation = 'SYNC_USER'
     ORDER BY o.record_id, o.id DESC
    RETURNING a.record_id,
              (SELECT u.user_email FROM public."LiteLLM_UserTable" AS u WHERE u.user_id = a.record_id),
              a.sync_result, a.error_message;
    INSERT INTO user_bridge.sync_audit (operation, record_id, sync_result, new_data)
    SELECT 'MIGRATE_COMPLETE', 'batch_migration', 'SUCCESS', jsonb_object_agg(m.sync_result, m.count)
      FROM (SELECT a.sync_result, count(*) FROM user_bridge.sync_audit AS a
             WHERE a.id > v_start AND a.operation = 'MIGRATE_USER' GROUP BY a.sync_result) AS m;
END
$body$;
COMMENT ON FUNCTION user_bridge.migrate_existing_users() IS
    'Brings everything that existed before the bridge, in this one transaction, and returns each user''s outcome. For '
    'many thousands of users take the module bridge_migration, which commits as it goes.';

CREATE OR REPLACE FUNCTION user_bridge.check_migration_status() RETURNS TABLE (metric text, count bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET client_min_messages = error AS $body$
DECLARE
    s user_bridge.settings;
    v_there bigint;
BEGIN
    SELECT * INTO s FROM user_bridge.settings;
    BEGIN
        v_there := (user_bridge.call_target('{"count": true}',
            clock_timestamp() + s.target_timeout_ms * interval '1 millisecond') ->> 'accounts')::bigint;
    EXCEPTION WHEN SQLSTATE 'UB001' OR SQLSTATE 'UB002' THEN
        v_there := NULL;  -- Shown as unknown.
    END;
    RETURN QUERY
    SELECT m.metric, m.count
      FROM (SELECT count(*), count(*) FILTER (WHERE user_bridge.unusable_email(u.user_email) IS NULL)
              FROM public."LiteLLM_UserTable" AS u) AS users(everybody, with_email)
     CROSS JOIN LATERAL (VALUES
           ('Total LiteLLM Users', users.everybody),
           ('Users with Email', users.with_email),
           ('Users without Email', users.everybody - users.with_email),
           ('Already Synced Users', (SELECT count(*) FROM user_bridge.sync_mapping WHERE litellm_type = 'user')),
           ('Open WebUI Users of the Bridge', v_there),
           ('Migration Operations', (SELECT count(*) FROM user_bridge.sync_audit WHERE operation LIKE 'MIGRATE\_%'))
           ) AS m(metric, count);
END
$body$;
COMMENT ON FUNCTION user_bridge.check_migration_status() IS
    'How many users there are, could be brought, have been brought; NULL where Open WebUI''s side does not answer.';

-- litellm/64_removals.sql.j2
-- Removals over the limit wait here for a person: an empty, restored or half-read LiteLLM looks exactly like one whose
-- users have all been deleted. Open WebUI's side decides (36_removal_guard), because it knows what is really lost.

CREATE OR REPLACE FUNCTION user_bridge.pending_removals()
RETURNS TABLE (entity_type text, entity_id text, openwebui_id text, reason text, parked_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $body$
BEGIN
    RETURN QUERY
    SELECT p.entity_type, p.entity_id, m.openwebui_id, p.last_error, p.parked_at
      FROM (SELECT DISTINCT ON (q.entity_type, q.entity_id) q.*
              FROM user_bridge.sync_queue AS q
             WHERE q.parked_at IS NOT NULL
             ORDER BY q.entity_type, q.entity_id, q.parked_at) AS p
      LEFT JOIN user_bridge.sync_mapping AS m ON m.litellm_type = p.entity_type AND m.litellm_id = p.entity_id
     ORDER BY p.entity_type DESC, p.entity_id;
END
$body$;
COMMENT ON FUNCTION user_bridge.pending_removals() IS
    'What approve_removals() would take away in Open WebUI, account by account, group by group, membership by membership.';

CREATE OR REPLACE FUNCTION user_bridge.approve_removals() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    v_count bigint;
BEGIN
    UPDATE user_bridge.sync_queue AS q
       SET approved = true, parked_at = NULL, next_attempt_at = NULL
     WHERE q.parked_at IS NOT NULL;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    INSERT INTO user_bridge.sync_audit (operation, record_id, sync_result, new_data)
    SELECT 'APPROVE_REMOVALS', session_user, 'SUCCESS', jsonb_build_object('removals', v_count) WHERE v_count > 0;
    PERFORM setval('user_bridge.backlog', 2) WHERE v_count > 0;
    RETURN v_count;
END
$body$;
COMMENT ON FUNCTION user_bridge.approve_removals() IS
    'Lets the parked removals go with the next drain, each as LiteLLM is by then; returns how many.';

CREATE OR REPLACE FUNCTION user_bridge.reject_removals() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    v_count bigint;
BEGIN
    DELETE FROM user_bridge.sync_queue AS q WHERE q.parked_at IS NOT NULL;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    INSERT INTO user_bridge.sync_audit (operation, record_id, sync_result, new_data)
    SELECT 'REJECT_REMOVALS', session_user, 'SUCCESS', jsonb_build_object('removals', v_count) WHERE v_count > 0;
    RETURN v_count;
END
$body$;
COMMENT ON FUNCTION user_bridge.reject_removals() IS
    'Forgets the parked removals, and leaves Open WebUI as it is; returns how many. reconcile() finds them again for as '
    'long as LiteLLM lacks what Open WebUI has.';

CREATE OR REPLACE FUNCTION user_bridge.release_returned() RETURNS bigint
LANGUAGE plpgsql AS $body$
DECLARE
    v_count bigint;
BEGIN
    DELETE FROM user_bridge.sync_queue AS q
     USING (SELECT array_agg(p.entity_type) AS types, array_agg(p.entity_id) AS ids
              FROM user_bridge.sync_queue AS p WHERE p.parked_at IS NOT NULL) AS parked
     CROSS JOIN LATERAL user_bridge.desired_states(parked.types, parked.ids) AS d
     WHERE q.parked_at IS NOT NULL AND q.entity_type = d.entity_type AND q.entity_id = d.entity_id
       AND d.desired IS NOT NULL AND d.desired -> 'disabled' IS DISTINCT FROM 'true'::jsonb;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$body$;
COMMENT ON FUNCTION user_bridge.release_returned() IS
    'Forgets parked removals of what is in LiteLLM again; returns how many.';

-- litellm/65_compare.sql.j2
-- Finds what is not plainly equal on both sides, for 66_reconcile to look at closely. Each side adds up digests of what it
-- has, users and groups in buckets, memberships by group; only where the sums differ is anything named. A sum is the same in
-- any order: two servers' collations would not agree on one.

CREATE OR REPLACE FUNCTION user_bridge.items(p_types text[], p_ids text[], s user_bridge.settings) RETURNS jsonb
-- Going through all teams for each user is cheap by the planner's reckoning only.
LANGUAGE plpgsql STABLE SET enable_seqscan = off AS $body$
BEGIN
    RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object('type', d.entity_type, 'id', d.entity_id,
                       'desired', d.desired, 'skipped', d.skipped, 'mapped', m.openwebui_id)), '[]')
              FROM user_bridge.desired_states(p_types, p_ids) AS d
              LEFT JOIN user_bridge.sync_mapping AS m ON m.litellm_type = d.entity_type AND m.litellm_id = d.entity_id
             WHERE d.entity_type NOT LIKE '%\_key' OR NOT user_bridge.is_local(d.entity_type, d.entity_id, s));
END
$body$;
COMMENT ON FUNCTION user_bridge.items(text[], text[], user_bridge.settings) IS
    'The desired states of entities, as Open WebUI''s side takes them.';

CREATE OR REPLACE FUNCTION user_bridge.suspicious(p_items jsonb, s user_bridge.settings)
RETURNS TABLE (entity_type text, entity_id text)
LANGUAGE plpgsql AS $body$
BEGIN
    RETURN QUERY
    SELECT i.item ->> 'type', i.item ->> 'id'
      FROM jsonb_array_elements(p_items) WITH ORDINALITY AS i(item, ord)
      JOIN jsonb_array_elements(user_bridge.call_target(jsonb_build_object('suspects', p_items),
               clock_timestamp() + s.target_timeout_ms * interval '1 millisecond') -> 'suspects') AS x(ord)
        ON x.ord::bigint = i.ord;
END
$body$;
COMMENT ON FUNCTION user_bridge.suspicious(jsonb, user_bridge.settings) IS
    'Those of these items() that are not plainly equal on both sides.';

CREATE OR REPLACE FUNCTION user_bridge.digest(p_text text) RETURNS bigint
-- Not IMMUTABLE: convert_to() is not, and PostgreSQL would not inline this.
LANGUAGE sql STABLE AS $body$
    SELECT ('x' || left(encode(sha256(convert_to(p_text, 'UTF8')), 'hex'), 15))::bit(60)::bigint
$body$;
COMMENT ON FUNCTION user_bridge.digest(text) IS 'As digest() on Open WebUI''s side.';

CREATE OR REPLACE FUNCTION user_bridge.bucket(p_id text) RETURNS integer
LANGUAGE sql STABLE AS $body$
    SELECT get_byte(sha256(convert_to(p_id, 'UTF8')), 0)
$body$;
COMMENT ON FUNCTION user_bridge.bucket(text) IS 'As bucket() on Open WebUI''s side.';

CREATE OR REPLACE FUNCTION user_bridge.next_portion(p_portion integer, p_begun timestamptz, s user_bridge.settings)
RETURNS integer
LANGUAGE sql STABLE AS $body$
    -- Each portion costs a look at whole tables, and none may take longer than target_timeout_ms.
    SELECT CASE WHEN p_portion IS NULL THEN 5 * s.target_timeout_ms
                ELSE 1 + p_portion * least(10, s.target_timeout_ms / 2
                                               / (1 + 1000 * extract(epoch FROM clock_timestamp() - p_begun))) END::integer
$body$;
COMMENT ON FUNCTION user_bridge.next_portion(integer, timestamptz, user_bridge.settings) IS
    'How many to ask Open WebUI''s side for at once, after so many since then: what half of the time allowed should do for.';

CREATE OR REPLACE FUNCTION user_bridge.sums_there(p_types text[], s user_bridge.settings)
RETURNS TABLE (entity_type text, bucket integer, digest numeric, odd text)
LANGUAGE plpgsql AS $body$
DECLARE
    v_type text;
    v_reply jsonb;
    v_portion integer;
    v_begun timestamptz;
BEGIN
    FOREACH v_type IN ARRAY p_types LOOP
        v_reply := '{"next": ""}'::jsonb;
        v_portion := NULL;
        WHILE v_reply ->> 'next' IS NOT NULL LOOP
            v_portion := user_bridge.next_portion(v_portion, v_begun, s);
            v_begun := clock_timestamp();
            v_reply := user_bridge.call_target(
                jsonb_build_object('sums_of', v_type, 'after', v_reply -> 'next', 'limit', v_portion),
                v_begun + s.target_timeout_ms * interval '1 millisecond');
            RETURN QUERY
            SELECT v_type, r.bucket, r.digest, r.odd
              FROM jsonb_to_recordset(v_reply -> 'sums') AS r(bucket integer, digest numeric, odd text);
        END LOOP;
    END LOOP;
END
$body$;
COMMENT ON FUNCTION user_bridge.sums_there(text[], user_bridge.settings) IS
    'What Open WebUI has of these types: sums by bucket, to be added up; odd: an entity that no sum tells anything about.';

CREATE OR REPLACE FUNCTION user_bridge.in_buckets_there(p_types text[], p_buckets integer[], s user_bridge.settings)
RETURNS TABLE (entity_type text, entity_id text)
LANGUAGE plpgsql AS $body$
BEGIN
    RETURN QUERY
    SELECT e ->> 0, e ->> 1
      FROM jsonb_array_elements(user_bridge.call_target(jsonb_build_object('in_buckets', (
               SELECT jsonb_agg(jsonb_build_array(b.type, b.bucket)) FROM unnest(p_types, p_buckets) AS b(type, bucket))),
           clock_timestamp() + s.target_timeout_ms * interval '1 millisecond') -> 'entities') AS e;
END
$body$;
COMMENT ON FUNCTION user_bridge.in_buckets_there(text[], integer[], user_bridge.settings) IS
    'Every entity of these buckets that something in Open WebUI stands for.';

CREATE OR REPLACE FUNCTION user_bridge.doubtful_entities(p_types text[], s user_bridge.settings)
RETURNS TABLE (entity_type text, entity_id text)
-- Going through all teams for each user is cheap by the planner's reckoning only; and all users at once spill soon.
LANGUAGE plpgsql SET enable_seqscan = off SET work_mem = '64MB' AS $body$
DECLARE
    v_types text[];
    v_buckets integer[];
    v_doubtful jsonb;
BEGIN
    IF p_types = '{}' THEN
        RETURN;
    END IF;
    WITH here AS MATERIALIZED (
        -- The role of a disabled account is Open WebUI's side's to know, and what is not mapped is to be mended anyway.
        SELECT d.entity_type AS type, d.entity_id AS id, user_bridge.bucket(d.entity_id) AS bucket,
               CASE WHEN d.desired IS NOT NULL AND m.openwebui_id IS NOT NULL
                         AND (d.desired ->> 'disabled')::boolean IS NOT TRUE THEN
                   user_bridge.digest(ROW(d.entity_id, m.openwebui_id, d.desired - 'openwebui_id')::text) END AS digest,
               d.desired IS NOT NULL OR m.openwebui_id IS NOT NULL AS matters
          FROM unnest(p_types) AS t(type)
         CROSS JOIN LATERAL user_bridge.desired_states(ARRAY[t.type], array(
                    SELECT e.entity_id FROM user_bridge.all_entities() AS e WHERE e.entity_type = t.type)) AS d
          -- OFFSET 0: read as a whole, not looked up for each.
          LEFT JOIN (SELECT * FROM user_bridge.sync_mapping AS x WHERE x.litellm_type = ANY (p_types) OFFSET 0) AS m
                 ON m.litellm_type = d.entity_type AND m.litellm_id = d.entity_id
    ), there AS MATERIALIZED (
        SELECT * FROM user_bridge.sums_there(p_types, s)
    ), differing AS MATERIALIZED (
        SELECT type, bucket
          FROM (SELECT h.type, h.bucket, sum(h.digest) AS digest FROM here AS h GROUP BY h.type, h.bucket) AS h
          FULL JOIN (SELECT t.entity_type AS type, t.bucket, sum(t.digest) AS digest
                       FROM there AS t WHERE t.odd IS NULL GROUP BY t.entity_type, t.bucket) AS t USING (type, bucket)
         WHERE h.digest IS DISTINCT FROM t.digest
    )
    SELECT (SELECT array_agg(d.type) FROM differing AS d), (SELECT array_agg(d.bucket) FROM differing AS d),
           (SELECT jsonb_agg(jsonb_build_array(o.type, o.id))
              FROM (SELECT t.entity_type AS type, t.odd AS id FROM there AS t WHERE t.odd IS NOT NULL
                     UNION
                    SELECT h.type, h.id FROM here AS h
                     WHERE h.digest IS NULL AND h.matters
                        OR (h.type, h.bucket) IN (SELECT d.type, d.bucket FROM differing AS d)) AS o)
      INTO v_types, v_buckets, v_doubtful;
    RETURN QUERY
    SELECT d ->> 0, d ->> 1 FROM jsonb_array_elements(v_doubtful) AS d
     UNION
    SELECT * FROM user_bridge.in_buckets_there(v_types, v_buckets, s) WHERE v_types IS NOT NULL;
END
$body$;
COMMENT ON FUNCTION user_bridge.doubtful_entities(text[], user_bridge.settings) IS
    'All users and groups, as either side knows them, of the buckets that do not have the same on both, and what is not '
    'added up: where an account is disabled, or something is missing.';

CREATE OR REPLACE FUNCTION user_bridge.rosters_there(s user_bridge.settings)
RETURNS TABLE (group_type text, group_id text, digest numeric, complete boolean)
LANGUAGE plpgsql AS $body$
DECLARE
    v_reply jsonb := '{"next": []}'::jsonb;
    v_portion integer;
    v_begun timestamptz;
BEGIN
    WHILE v_reply -> 'next' <> 'null' LOOP
        v_portion := user_bridge.next_portion(v_portion, v_begun, s);
        v_begun := clock_timestamp();
        v_reply := user_bridge.call_target(
            jsonb_build_object('rosters_after', v_reply -> 'next', 'limit', v_portion),
            v_begun + s.target_timeout_ms * interval '1 millisecond');
        RETURN QUERY
        SELECT r.* FROM jsonb_to_recordset(v_reply -> 'rosters')
                        AS r(group_type text, group_id text, digest numeric, complete boolean);
    END LOOP;
END
$body$;
COMMENT ON FUNCTION user_bridge.rosters_there(user_bridge.settings) IS
    'A digest of each group''s members as Open WebUI''s side knows them; of a large group in several rows, to be added up.';

CREATE OR REPLACE FUNCTION user_bridge.doubtful_memberships(p_types text[], s user_bridge.settings)
RETURNS TABLE (entity_type text, entity_id text)
LANGUAGE plpgsql SET work_mem = '64MB' AS $body$
DECLARE
    v_types text[];
    v_groups text[];
BEGIN
    IF p_types = '{}' THEN
        RETURN;
    END IF;
    WITH here AS (
        SELECT regexp_replace(w.entity_type, '_member$', '') AS group_type, w.key ->> 0 AS group_id,
               sum(user_bridge.digest(w.key ->> 1)) AS digest
          FROM (SELECT d.entity_type, d.entity_id::jsonb AS key
                  FROM unnest(p_types) AS t(type)
                 CROSS JOIN LATERAL user_bridge.desired_states(ARRAY[t.type], array(
                            SELECT e.entity_id FROM user_bridge.all_entities() AS e WHERE e.entity_type = t.type)) AS d
                 WHERE d.desired IS NOT NULL OFFSET 0) AS w
         GROUP BY w.entity_type, w.key ->> 0
    ), there AS (
        SELECT r.group_type, r.group_id, sum(r.digest) AS digest, bool_and(r.complete) AS complete
          FROM user_bridge.rosters_there(s) AS r
         WHERE r.group_type || '_member' = ANY (p_types)
         GROUP BY 1, 2
    )
    SELECT array_agg(group_type), array_agg(group_id) INTO v_types, v_groups
      FROM here FULL JOIN there USING (group_type, group_id)
     WHERE (here.digest = there.digest AND there.complete) IS NOT TRUE;
    IF v_groups IS NOT NULL THEN
        RETURN QUERY
        SELECT e.entity_type, e.entity_id
          FROM user_bridge.all_entities() AS e
          JOIN unnest(v_types, v_groups) AS g(type, id)
            ON e.entity_type = g.type || '_member' AND e.entity_id::jsonb ->> 0 = g.id
         WHERE e.entity_type LIKE '%\_member'
         UNION
        SELECT * FROM user_bridge.members_there(v_types, v_groups,
                   clock_timestamp() + s.target_timeout_ms * interval '1 millisecond');
    END IF;
END
$body$;
COMMENT ON FUNCTION user_bridge.doubtful_memberships(text[], user_bridge.settings) IS
    'All memberships, as either side knows them, of the groups that do not have the same members on both.';

CREATE OR REPLACE FUNCTION user_bridge.suspects(p_types text[], s user_bridge.settings)
RETURNS TABLE (entity_type text, entity_id text)
LANGUAGE plpgsql AS $body$
DECLARE
    c_portion CONSTANT integer := 5000;
    v_types text[] := coalesce(p_types, ARRAY['organization', 'team', 'user', 'organization_member', 'team_member', 'user_key']);
    v_items jsonb;
BEGIN
    FOR v_items IN
        SELECT user_bridge.items(array_agg(d.entity_type), array_agg(d.entity_id), s)
          FROM (SELECT x.*, row_number() OVER (ORDER BY x.entity_type, x.entity_id) AS ord
                  FROM (SELECT * FROM user_bridge.doubtful_entities(array(
                                   SELECT t FROM unnest(v_types) AS t WHERE t IN ('organization', 'team', 'user')), s)
                         UNION ALL
                        SELECT * FROM user_bridge.doubtful_memberships(array(
                                   SELECT t FROM unnest(v_types) AS t WHERE t LIKE '%\_member'), s)
                         UNION ALL
                        SELECT e.* FROM user_bridge.all_entities() AS e
                         WHERE e.entity_type = 'user_key' AND 'user_key' = ANY (v_types)) AS x) AS d
         GROUP BY (d.ord - 1) / c_portion
    LOOP
        RETURN QUERY SELECT * FROM user_bridge.suspicious(v_items, s);
    END LOOP;
END
$body$;
COMMENT ON FUNCTION user_bridge.suspects(text[], user_bridge.settings) IS
    'Every entity of these types (NULL: of all that something in Open WebUI stands for), on either side, that is not '
    'plainly equal on both.';

-- litellm/66_reconcile.sql.j2
-- Compares both sides while writes go on. An entity that is queued, or that a COMMIT is delivering at this moment, is on
-- its way and no difference; everything else is looked at under its lock.

CREATE OR REPLACE FUNCTION user_bridge.is_on_its_way(p_type text, p_id text) RETURNS boolean
LANGUAGE plpgsql STABLE AS $body$
BEGIN
    RETURN EXISTS (
        SELECT FROM user_bridge.sync_queue AS q
         WHERE (q.entity_type, q.entity_id) = (p_type, p_id)
            -- A membership comes and goes with its group and its account.
            OR p_type LIKE '%\_member' AND (q.entity_type, q.entity_id) IN (
                   (regexp_replace(p_type, '_member$', ''), p_id::jsonb ->> 0), ('user', p_id::jsonb ->> 1)))
        OR p_type = 'user' AND p_id IN (
               SELECT user_bridge.users_behind(array_agg(q.entity_type), array_agg(q.entity_id))
                 FROM user_bridge.sync_queue AS q WHERE q.entity_type = ANY (user_bridge.standing_for_others()));
END
$body$;
COMMENT ON FUNCTION user_bridge.is_on_its_way(text, text) IS
    'Whether an entity, or what it depends on, waits in the queue: what differs by now is no news.';

CREATE OR REPLACE FUNCTION user_bridge.preview_entities(
    p_types text[], p_ids text[], p_queued boolean, s user_bridge.settings)
RETURNS jsonb
LANGUAGE plpgsql AS $body$
DECLARE
    v_types text[];
    v_ids text[];
    v_items jsonb;
    v_previews jsonb;
    v_result jsonb := '[]'::jsonb;
BEGIN
    -- The locks go with the subtransaction, so that no COMMIT waits for more than these few.
    BEGIN
        SELECT array_agg(k.type), array_agg(k.id) INTO v_types, v_ids
          FROM unnest(p_types, p_ids) AS k(type, id)
         WHERE user_bridge.lock_without_waiting(k.type, k.id);
        v_items := user_bridge.items(v_types, v_ids, s);
        IF NOT p_queued THEN
            -- Only now: who sees a change of LiteLLM's must also see that it is queued.
            v_items := (SELECT coalesce(jsonb_agg(i), '[]') FROM jsonb_array_elements(v_items) AS i
                         WHERE NOT user_bridge.is_on_its_way(i ->> 'type', i ->> 'id'));
        END IF;
        IF v_items <> '[]' THEN
            v_previews := user_bridge.call_target(jsonb_build_object(
                'preview', v_items, 'version', 9223372036854775807,
                'options', user_bridge.delivery_options(s) || '{"initial_password": "none"}'),
                clock_timestamp() + s.target_timeout_ms * interval '1 millisecond') -> 'preview';
            v_result := (
                SELECT jsonb_agg(i.item || p.preview)
                  FROM jsonb_array_elements(v_items) WITH ORDINALITY AS i(item, ord)
                  JOIN jsonb_array_elements(v_previews) WITH ORDINALITY AS p(preview, ord) USING (ord));
        END IF;
        RAISE EXCEPTION USING ERRCODE = 'UB004', MESSAGE = 'only a preview';
    EXCEPTION WHEN SQLSTATE 'UB004' THEN
        NULL;
    END;
    RETURN v_result;
END
$body$;
COMMENT ON FUNCTION user_bridge.preview_entities(text[], text[], boolean, user_bridge.settings) IS
    'What delivering these entities would do, but for those that are being delivered or, unless p_queued, are queued.';

CREATE OR REPLACE FUNCTION user_bridge.fields_of(p_preview jsonb)
RETURNS TABLE (field text, openwebui jsonb, litellm jsonb)
LANGUAGE sql IMMUTABLE AS $body$
    SELECT f.field, b.value, a.value
      FROM (SELECT coalesce(nullif(p_preview -> 'before', 'null'), '{"exists": false}') AS before,
                   coalesce(nullif(p_preview -> 'after', 'null'), '{"exists": false}') AS after) AS p
     CROSS JOIN LATERAL (SELECT jsonb_object_keys(p.before) UNION SELECT jsonb_object_keys(p.after)) AS f(field)
     CROSS JOIN LATERAL (SELECT nullif(p.before -> f.field, 'null')) AS b(value)
     CROSS JOIN LATERAL (SELECT nullif(p.after -> f.field, 'null')) AS a(value)
     WHERE b.value IS DISTINCT FROM a.value
       -- Of what comes or goes as a whole, the fields say nothing more.
       AND (f.field = 'exists' OR p.before -> 'exists' IS NOT DISTINCT FROM p.after -> 'exists')
     UNION ALL
    SELECT 'mapping', nullif(p_preview -> 'mapped', 'null'), nullif(p_preview -> 'openwebui_id', 'null')
     WHERE p_preview ->> 'type' IN ('user', 'organization', 'team') AND p_preview ->> 'status' <> 'FAILED'
       AND p_preview ->> 'mapped' IS DISTINCT FROM p_preview ->> 'openwebui_id'
$body$;
COMMENT ON FUNCTION user_bridge.fields_of(jsonb) IS 'A preview as one row a differing field.';

CREATE OR REPLACE FUNCTION user_bridge.preview(p_types text[], p_ids text[])
RETURNS TABLE (entity_type text, entity_id text, field text, openwebui jsonb, litellm jsonb, result text, message text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET client_min_messages = error
SET row_security = off SET jit = off AS $body$
DECLARE
    s user_bridge.settings;
    v_types text[];
    v_ids text[];
BEGIN
    SELECT * INTO s FROM user_bridge.settings;
    FOR v_types, v_ids IN
        SELECT array_agg(k.type), array_agg(k.id)
          FROM unnest(p_types, p_ids) WITH ORDINALITY AS k(type, id, ord)
         GROUP BY (k.ord - 1) / 50 ORDER BY (k.ord - 1) / 50
    LOOP
        RETURN QUERY
        SELECT p ->> 'type', p ->> 'id', f.field, f.openwebui, f.litellm, p ->> 'status',
               coalesce(p ->> 'message', p ->> 'skipped')
          FROM jsonb_array_elements(user_bridge.preview_entities(v_types, v_ids, true, s)) AS p
          LEFT JOIN LATERAL user_bridge.fields_of(p) AS f ON true;
    END LOOP;
END
$body$;
COMMENT ON FUNCTION user_bridge.preview(text[], text[]) IS
    'What delivering these entities would change in Open WebUI now, field by field (one row without a field where '
    'nothing would), and how it would end. Changes nothing.';

CREATE OR REPLACE FUNCTION user_bridge.wrong_key_mappings()
RETURNS TABLE (entity_type text, entity_id text, field text, openwebui jsonb, litellm jsonb)
LANGUAGE sql STABLE AS $body$
    SELECT 'api_key', d.entity_id, 'mapping', m.sync_data, d.desired - 'openwebui_id'
      FROM user_bridge.desired_api_keys(array(
               SELECT e.entity_id FROM user_bridge.all_entities() AS e WHERE e.entity_type = 'api_key')) AS d
      LEFT JOIN user_bridge.sync_mapping AS m ON m.litellm_type = 'api_key' AND m.litellm_id = d.entity_id
     WHERE (m.openwebui_id, m.sync_data) IS DISTINCT FROM (d.desired ->> 'openwebui_id', d.desired - 'openwebui_id')
       AND NOT EXISTS (SELECT FROM user_bridge.sync_queue AS q
                        WHERE q.entity_type = 'api_key' AND q.entity_id = d.entity_id)
$body$;
COMMENT ON FUNCTION user_bridge.wrong_key_mappings() IS 'Keys whose mapping is not what LiteLLM says.';

CREATE OR REPLACE FUNCTION user_bridge.reconcile(repair boolean DEFAULT false, p_types text[] DEFAULT NULL)
RETURNS TABLE (entity_type text, entity_id text, field text, openwebui jsonb, litellm jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET client_min_messages = error
-- The planner takes each function for 1000 rows, and would spend seconds on compiling what runs for milliseconds.
SET row_security = off SET jit = off AS $body$
#variable_conflict use_column
DECLARE
    s user_bridge.settings;
    v_types text[];
    v_ids text[];
    v_found record;
    v_faults bigint := (SELECT f.last_value FROM user_bridge.trigger_faults AS f WHERE f.is_called);
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION 'reconcile() needs a READ COMMITTED transaction: an older snapshot would see differences that are none';
    END IF;
    SELECT * INTO s FROM user_bridge.settings;
    FOR v_found IN
        SELECT x.entity_type, x.entity_id, f.field, f.openwebui, f.litellm
          FROM user_bridge.suspects(p_types, s) AS x
         CROSS JOIN LATERAL user_bridge.preview_entities(ARRAY[x.entity_type], ARRAY[x.entity_id], false, s) AS previews
         CROSS JOIN LATERAL jsonb_array_elements(previews) AS p
         CROSS JOIN LATERAL user_bridge.fields_of(p) AS f
         UNION ALL
        SELECT w.* FROM user_bridge.wrong_key_mappings() AS w WHERE p_types IS NULL OR 'api_key' = ANY (p_types)
    LOOP
        v_types := v_types || v_found.entity_type;
        v_ids := v_ids || v_found.entity_id;
        entity_type := v_found.entity_type;
        entity_id := v_found.entity_id;
        field := v_found.field;
        openwebui := v_found.openwebui;
        litellm := v_found.litellm;
        RETURN NEXT;
    END LOOP;
    IF repair AND v_ids IS NOT NULL THEN
        PERFORM user_bridge.enqueue_entities(v_types, v_ids);
    END IF;
    -- Whatever these triggers have missed was among the differences; faults since then count on.
    IF repair AND p_types IS NULL AND v_faults = (SELECT f.last_value FROM user_bridge.trigger_faults AS f) THEN
        PERFORM setval('user_bridge.trigger_faults', 1, false);
    END IF;
END
$body$;
COMMENT ON FUNCTION user_bridge.reconcile(boolean, text[]) IS
    'Compares LiteLLM with all that stands for it in Open WebUI, and returns each difference by entity and field: what '
    'Open WebUI has, and what LiteLLM says. With repair the differing entities are queued for the drain, '
    'and a repair of everything starts the count of trigger_faults anew.';

-- litellm/68_timer.sql.j2
-- The one row says for which rules everything that exists has been queued; none while nothing has.
CREATE TABLE IF NOT EXISTS user_bridge.brought (
    rules text NOT NULL
);
COMMENT ON TABLE user_bridge.brought IS 'The rules by which everything that exists was queued last; see bring_existing().';

CREATE OR REPLACE FUNCTION user_bridge.bring_existing() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    v_rules CONSTANT text := (
        SELECT md5(jsonb_build_array(user_bridge.version(), s.user_id_prefix, s.group_id_prefix, s.team_group_id_prefix,
                                     s.team_groups, s.role_map, s.default_role, s.adopt_existing, s.api_keys)::text)
          FROM user_bridge.settings AS s);
BEGIN
    IF EXISTS (SELECT FROM user_bridge.brought AS b WHERE b.rules = v_rules) THEN
        RETURN 0;
    END IF;
    DELETE FROM user_bridge.brought;
    INSERT INTO user_bridge.brought (rules) VALUES (v_rules);
    RETURN user_bridge.enqueue_everything();
END
$body$;
COMMENT ON FUNCTION user_bridge.bring_existing() IS
    'Queues everything that exists, once for each version of the bridge and each change of a setting that decides what '
    'Open WebUI''s rows look like; returns how many entities.';

CREATE OR REPLACE FUNCTION user_bridge.tend(p_limit integer DEFAULT 500) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    v_count CONSTANT bigint := (SELECT count(*) FROM user_bridge.drain(p_limit, true));
BEGIN
    IF v_count = 0 THEN
        PERFORM FROM user_bridge.maintain();
    END IF;
    RETURN v_count;
END
$body$;
COMMENT ON FUNCTION user_bridge.tend(integer) IS
    'One step of the timer: drains up to p_limit entities that are due and returns how many; with none left, maintain().';


-- litellm/70_status.sql.j2
-- For people at a psql prompt, under the names they know from the upstream SQL scripts.

CREATE OR REPLACE FUNCTION user_bridge.version() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
    SELECT i.version FROM user_bridge.installation AS i WHERE i.side = 'litellm'
$body$;
COMMENT ON FUNCTION user_bridge.version() IS 'The version of the collection that installed this bridge.';

CREATE OR REPLACE FUNCTION user_bridge.check_sync_status() RETURNS TABLE (metric text, value text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
    SELECT m.metric, m.value::text
      FROM (SELECT s.paused,
                   (SELECT count(*) FROM user_bridge.sync_audit) AS audited,
                   (SELECT count(*) FROM user_bridge.sync_audit WHERE sync_result IN ('SUCCESS', 'WARNING', 'SKIPPED')) AS good
              FROM user_bridge.settings AS s) AS x
     CROSS JOIN LATERAL (VALUES
           ('LiteLLM Organizations', (SELECT count(*)::text FROM public."LiteLLM_OrganizationTable")),
           ('LiteLLM Teams', (SELECT count(*)::text FROM public."LiteLLM_TeamTable")),
           ('LiteLLM Users', (SELECT count(*)::text FROM public."LiteLLM_UserTable")),
           ('Sync Mappings', (SELECT count(*)::text FROM user_bridge.sync_mapping)),
           ('Total Audit Records', x.audited::text),
           ('Success Rate', coalesce(round(x.good * 100.0 / nullif(x.audited, 0), 2) || '%', 'n/a')),
           ('Queued', (SELECT count(*)::text FROM user_bridge.sync_queue)),
           ('Failing', (SELECT count(*)::text FROM user_bridge.sync_queue WHERE last_error IS NOT NULL)),
           ('Oldest Queued', (SELECT min(enqueued_at)::text FROM user_bridge.sync_queue)),
           ('Paused', x.paused::text)) AS m(metric, value)
$body$;
COMMENT ON FUNCTION user_bridge.check_sync_status() IS 'The state of the bridge at a glance.';

CREATE OR REPLACE FUNCTION user_bridge.check_real_sync_status() RETURNS TABLE (metric text, value text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
    SELECT c.metric, c.value FROM user_bridge.check_sync_status() AS c
$body$;
COMMENT ON FUNCTION user_bridge.check_real_sync_status() IS 'The same as check_sync_status().';

CREATE OR REPLACE FUNCTION user_bridge.get_recent_sync_activities(p_limit integer DEFAULT 10)
RETURNS TABLE (operation text, record_id text, result text, created_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
    SELECT a.operation, a.record_id, a.sync_result, a.created_at
      FROM user_bridge.sync_audit AS a ORDER BY a.id DESC LIMIT p_limit
$body$;
COMMENT ON FUNCTION user_bridge.get_recent_sync_activities(integer) IS 'The newest audit rows, newest first.';

CREATE OR REPLACE FUNCTION user_bridge.get_migration_audit_log(p_limit integer DEFAULT 20)
RETURNS TABLE (operation text, record_id text, sync_result text, error_message text, created_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
    SELECT a.operation, a.record_id, a.sync_result, a.error_message, a.created_at
      FROM user_bridge.sync_audit AS a WHERE a.operation LIKE 'MIGRATE\_%' ORDER BY a.id DESC LIMIT p_limit
$body$;
COMMENT ON FUNCTION user_bridge.get_migration_audit_log(integer) IS 'The newest audit rows of migrations, newest first.';

CREATE OR REPLACE FUNCTION user_bridge.get_api_key_sync_audit_log(p_limit integer DEFAULT 10)
RETURNS TABLE (id bigint, operation text, record_id text, sync_result text, error_message text, sync_data jsonb,
               created_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
    SELECT a.id, a.operation, a.record_id, a.sync_result, a.error_message, coalesce(a.new_data, a.old_data), a.created_at
      FROM user_bridge.sync_audit AS a
     WHERE a.operation IN ('SYNC_API_KEY', 'DELETE_API_KEY') ORDER BY a.id DESC LIMIT p_limit
$body$;
COMMENT ON FUNCTION user_bridge.get_api_key_sync_audit_log(integer) IS 'The newest audit rows of keys, newest first.';

CREATE OR REPLACE FUNCTION user_bridge.check_api_key_sync_status()
RETURNS TABLE (user_id text, user_email text, litellm_api_keys bigint, mapped_api_keys bigint,
               webui_has_api_key boolean, last_sync_status text, last_sync_time timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
    SELECT u.user_id, u.user_email,
           (SELECT count(*) FROM public."LiteLLM_VerificationToken" AS t WHERE t.user_id = u.user_id),
           coalesce(mapped.count, 0),
           EXISTS (SELECT FROM user_bridge.sync_mapping AS m
                    WHERE m.litellm_type = 'user_key' AND m.litellm_id = u.user_id),
           last.sync_result, last.created_at
      FROM public."LiteLLM_UserTable" AS u
      LEFT JOIN (SELECT m.litellm_id::jsonb ->> 0 AS user_id, count(*) FROM user_bridge.sync_mapping AS m
                  WHERE m.litellm_type = 'api_key' GROUP BY 1) AS mapped ON mapped.user_id = u.user_id
      LEFT JOIN (SELECT DISTINCT ON (a.record_id::jsonb ->> 0)
                        a.record_id::jsonb ->> 0 AS user_id, a.sync_result, a.created_at
                   FROM user_bridge.sync_audit AS a
                  WHERE a.operation IN ('SYNC_API_KEY', 'DELETE_API_KEY')
                  ORDER BY a.record_id::jsonb ->> 0, a.id DESC) AS last ON last.user_id = u.user_id
     WHERE user_bridge.unusable_email(u.user_email) IS NULL
     ORDER BY u.user_email
$body$;
COMMENT ON FUNCTION user_bridge.check_api_key_sync_status() IS 'Keys in LiteLLM, mapped and mirrored, user by user.';

CREATE OR REPLACE FUNCTION user_bridge.test_api_key_sync_installation() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
    SELECT concat_ws(E'\n',
        'API key trigger: ' || CASE WHEN t.enabled IS NULL THEN 'missing' WHEN t.enabled = 'D' THEN 'disabled' ELSE 'enabled' END,
        'bridge_api_keys: ' || s.api_keys,
        'dblink extension: ' || CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'dblink')
                                     THEN 'installed' ELSE 'missing' END,
        CASE WHEN t.enabled <> 'D' THEN 'API keys are followed.' ELSE 'API keys are not followed: deploy the bridge again.' END)
      FROM user_bridge.settings AS s
      LEFT JOIN (SELECT g.tgenabled FROM pg_catalog.pg_trigger AS g
                  WHERE g.tgrelid = to_regclass('public."LiteLLM_VerificationToken"')
                    AND g.tgname = 'user_bridge_enqueue') AS t(enabled) ON true
$body$;
COMMENT ON FUNCTION user_bridge.test_api_key_sync_installation() IS 'Whether keys are followed, in words.';

-- litellm/90_triggers.sql.j2
-- Whole-row triggers without a condition: see 20_enqueue for what "UPDATE OF" and a column WHEN would break.
CREATE TRIGGER user_bridge_enqueue AFTER INSERT OR UPDATE OR DELETE ON public."LiteLLM_OrganizationTable"
    FOR EACH ROW EXECUTE FUNCTION user_bridge.on_organization_change();

CREATE TRIGGER user_bridge_enqueue AFTER INSERT OR UPDATE OR DELETE ON public."LiteLLM_OrganizationMembership"
    FOR EACH ROW EXECUTE FUNCTION user_bridge.on_organization_membership_change();

CREATE TRIGGER user_bridge_enqueue AFTER INSERT OR UPDATE OR DELETE ON public."LiteLLM_UserTable"
    FOR EACH ROW EXECUTE FUNCTION user_bridge.on_user_change();

CREATE TRIGGER user_bridge_enqueue AFTER INSERT OR UPDATE OR DELETE ON public."LiteLLM_TeamTable"
    FOR EACH ROW EXECUTE FUNCTION user_bridge.on_team_change();

CREATE TRIGGER user_bridge_enqueue AFTER INSERT OR UPDATE OR DELETE ON public."LiteLLM_VerificationToken"
    FOR EACH ROW EXECUTE FUNCTION user_bridge.on_key_change();
