-- Copyright (c) 2026, llmops.user_bridge contributors
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- What the version before the first release installed on this side, as rendered with the names that the tests use. Not to be changed.

-- openwebui/10_tables.sql.j2
-- State of the bridge on Open WebUI's side: what it made here, and how new that is.

CREATE TABLE IF NOT EXISTS user_bridge.entity (
    entity_type text NOT NULL,
    entity_id text NOT NULL,
    version bigint NOT NULL,
    source_txid text,
    openwebui_id text,
    parent_id text,
    origin text CHECK (origin IN ('created', 'adopted')),
    initial_password_mark text,
    initial_password_at timestamptz,
    mirrored_mark text,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (entity_type, entity_id)
);
COMMENT ON TABLE user_bridge.entity IS
    'One row for each LiteLLM entity ever delivered, also for one that is gone: a late delivery must find the fence. '
    'parent_id: a team''s organization in LiteLLM. source_txid: the LiteLLM transaction that has not been confirmed yet. initial_password_mark: a digest of the '
    'stored hash, which tells whether the person has changed the password.';

CREATE UNIQUE INDEX IF NOT EXISTS entity_account ON user_bridge.entity (openwebui_id) WHERE entity_type = 'user';

-- Also across organizations and teams: with the default prefixes, organization "team_x" and team "x" mean one group.
CREATE UNIQUE INDEX IF NOT EXISTS entity_group ON user_bridge.entity (openwebui_id) WHERE entity_type <> 'user';

CREATE INDEX IF NOT EXISTS entity_parent ON user_bridge.entity (parent_id) WHERE parent_id IS NOT NULL;

CREATE INDEX IF NOT EXISTS entity_unconfirmed ON user_bridge.entity (applied_at) WHERE source_txid IS NOT NULL;

CREATE TABLE IF NOT EXISTS user_bridge.membership (
    group_type text NOT NULL,
    group_id text NOT NULL,
    user_id text NOT NULL,
    written boolean NOT NULL DEFAULT false,
    PRIMARY KEY (group_type, group_id, user_id)
);
COMMENT ON TABLE user_bridge.membership IS
    'Memberships that LiteLLM wants, by LiteLLM''s ids; the account or the group may still be missing. written: the '
    'bridge put it into Open WebUI, and may take it out again; false: missing, or made by hand before.';

CREATE INDEX IF NOT EXISTS membership_user_id ON user_bridge.membership (user_id);

CREATE TABLE IF NOT EXISTS user_bridge.removal (
    account text PRIMARY KEY,
    removed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE user_bridge.removal IS
    'Accounts that were deleted, disabled or stripped of a membership within the last ten minutes.';

-- openwebui/20_catalog.sql.j2
-- What this Open WebUI can hold is asked of the catalog on every call: it is upgraded under the live bridge.

CREATE OR REPLACE FUNCTION user_bridge.has_column(p_table regclass, p_column text) RETURNS boolean
LANGUAGE plpgsql STABLE AS $body$
BEGIN
    RETURN (SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
                        WHERE a.attrelid = p_table AND a.attname = p_column AND NOT a.attisdropped));
END
$body$;
COMMENT ON FUNCTION user_bridge.has_column(regclass, text) IS 'Whether a table has a column.';

CREATE OR REPLACE FUNCTION user_bridge.fits_column(p_table regclass, p_column text, p_value text) RETURNS boolean
LANGUAGE plpgsql STABLE AS $body$
BEGIN
    -- varchar(n) stores n + 4 here, and -1 for no limit.
    RETURN (SELECT a.atttypmod < 0 OR length(p_value) <= a.atttypmod - 4
          FROM pg_catalog.pg_attribute AS a
         WHERE a.attrelid = p_table AND a.attname = p_column);
END
$body$;
COMMENT ON FUNCTION user_bridge.fits_column(regclass, text, text) IS
    'Whether a text is short enough: names are varchar(255) on 0.6.30-0.9.5 and whatever was upgraded from there.';

CREATE OR REPLACE FUNCTION user_bridge.json_object(p_value text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $body$
BEGIN
    RETURN CASE WHEN jsonb_typeof(p_value::jsonb) = 'object' THEN p_value::jsonb ELSE '{}'::jsonb END;
EXCEPTION WHEN invalid_text_representation THEN
    RETURN '{}'::jsonb;
END
$body$;
COMMENT ON FUNCTION user_bridge.json_object(text) IS
    'The text as a JSON object; {} for anything else, which would make Open WebUI''s user list fail for everybody.';

CREATE OR REPLACE FUNCTION user_bridge.epoch() RETURNS bigint
LANGUAGE sql VOLATILE AS $body$
    SELECT extract(epoch FROM clock_timestamp())::bigint
$body$;
COMMENT ON FUNCTION user_bridge.epoch() IS
    'Now, in Open WebUI''s unit (seconds). Never LiteLLM''s created_at: the oldest account is the primary admin.';

CREATE OR REPLACE FUNCTION user_bridge.schema_mark() RETURNS text
LANGUAGE plpgsql STABLE AS $body$
BEGIN
    RETURN (SELECT md5(string_agg(concat_ws(' ', a.attrelid, a.attname, a.atttypid, a.atttypmod, a.attnotnull), ',' ORDER BY a.attrelid, a.attnum))
              FROM pg_catalog.pg_attribute AS a
              JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid AND c.relkind = 'r'
             WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped);
END
$body$;
COMMENT ON FUNCTION user_bridge.schema_mark() IS 'A digest of Open WebUI''s tables, which changes when it is migrated.';

-- openwebui/30_membership.sql.j2
-- Members live in "group".user_ids (a JSON array) up to Open WebUI 0.6.36 and in group_member from 0.6.37 on.
-- Only dynamic SQL may name what one of them lacks.

CREATE OR REPLACE FUNCTION user_bridge.add_members(p_group text, p_users text[]) RETURNS SETOF text
LANGUAGE plpgsql AS $body$
BEGIN
    IF to_regclass('public.group_member') IS NOT NULL THEN
        RETURN QUERY EXECUTE
            'INSERT INTO public.group_member (id, group_id, user_id, created_at, updated_at)
             SELECT gen_random_uuid()::text, $1, u.id, user_bridge.epoch(), user_bridge.epoch()
               FROM unnest($2) AS u(id)
             ON CONFLICT (group_id, user_id) DO NOTHING
             RETURNING user_id'
            USING p_group, p_users;
    ELSE
        -- Without duplicates and unknown ids, which make the migration of 0.6.37 fail.
        RETURN QUERY EXECUTE
            'WITH old AS (SELECT g.id, user_bridge.json_strings(g.user_ids) AS members
                            FROM public."group" AS g WHERE g.id = $1 FOR UPDATE),
                  new AS (SELECT old.id, array(SELECT DISTINCT u.id FROM unnest($2) AS u(id)
                                                WHERE u.id <> ALL (old.members)) AS members FROM old),
                  written AS (UPDATE public."group" AS g
                                 SET user_ids = to_json(old.members || new.members)
                                FROM old JOIN new USING (id)
                               WHERE g.id = old.id AND cardinality(new.members) > 0)
             SELECT unnest(new.members) FROM new'
            USING p_group, p_users;
    END IF;
END
$body$;
COMMENT ON FUNCTION user_bridge.add_members(text, text[]) IS
    'Puts accounts into a group; returns those that were not in it. All are Open WebUI''s ids.';

CREATE OR REPLACE FUNCTION user_bridge.remove_members(p_group text, p_users text[]) RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    IF to_regclass('public.group_member') IS NOT NULL THEN
        EXECUTE 'DELETE FROM public.group_member WHERE group_id = $1 AND user_id = ANY ($2)' USING p_group, p_users;
    ELSE
        EXECUTE
            'UPDATE public."group" AS g
                SET user_ids = to_json(array(SELECT m.id
                        FROM unnest(user_bridge.json_strings(g.user_ids)) WITH ORDINALITY AS m(id, ord)
                       WHERE m.id <> ALL ($2) ORDER BY m.ord))
              WHERE g.id = $1'
            USING p_group, p_users;
    END IF;
END
$body$;
COMMENT ON FUNCTION user_bridge.remove_members(text, text[]) IS
    'Takes accounts out of a group. All are Open WebUI''s ids.';

CREATE OR REPLACE FUNCTION user_bridge.json_strings(p_array json) RETURNS text[]
LANGUAGE sql IMMUTABLE AS $body$
    SELECT CASE json_typeof(p_array) WHEN 'array' THEN array(SELECT json_array_elements_text(p_array)) ELSE '{}' END
$body$;
COMMENT ON FUNCTION user_bridge.json_strings(json) IS 'The strings of a JSON array; empty for anything else.';

CREATE OR REPLACE FUNCTION user_bridge.write_memberships(p_group_type text, p_group_id text, p_user_ids text[])
RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    v_group text;
    v_accounts text[];
BEGIN
    SELECT g.openwebui_id, array_agg(u.openwebui_id) INTO v_group, v_accounts
      FROM user_bridge.entity AS g
      JOIN user_bridge.entity AS u ON u.entity_type = 'user' AND u.entity_id = ANY (p_user_ids)
     WHERE g.entity_type = p_group_type AND g.entity_id = p_group_id
       AND g.openwebui_id IS NOT NULL AND u.openwebui_id IS NOT NULL
     GROUP BY g.openwebui_id;
    IF v_group IS NOT NULL THEN
        UPDATE user_bridge.membership AS m
           SET written = true
          FROM user_bridge.add_members(v_group, v_accounts) AS added(id)
          JOIN user_bridge.entity AS u ON u.entity_type = 'user' AND u.openwebui_id = added.id
         WHERE m.group_type = p_group_type AND m.group_id = p_group_id AND m.user_id = u.entity_id;
    END IF;
END
$body$;
COMMENT ON FUNCTION user_bridge.write_memberships(text, text, text[]) IS
    'Writes wanted memberships of one group, as far as the group and the accounts exist. All are LiteLLM''s ids.';

CREATE OR REPLACE FUNCTION user_bridge.write_group_memberships(p_group_type text, p_group_id text) RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    PERFORM user_bridge.write_memberships(p_group_type, p_group_id, array_agg(m.user_id))
       FROM user_bridge.membership AS m
      WHERE m.group_type = p_group_type AND m.group_id = p_group_id AND NOT m.written
     HAVING count(*) > 0;
END
$body$;
COMMENT ON FUNCTION user_bridge.write_group_memberships(text, text) IS 'Writes the memberships that waited for a group.';

CREATE OR REPLACE FUNCTION user_bridge.write_user_memberships(p_user_id text) RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    PERFORM user_bridge.write_memberships(m.group_type, m.group_id, ARRAY[p_user_id])
       FROM user_bridge.membership AS m
      WHERE m.user_id = p_user_id AND NOT m.written;
END
$body$;
COMMENT ON FUNCTION user_bridge.write_user_memberships(text) IS 'Writes the memberships that waited for a user''s account.';

CREATE OR REPLACE FUNCTION user_bridge.apply_member(p_item jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $body$
DECLARE
    v_key CONSTANT jsonb := (p_item ->> 'id')::jsonb;
    v_want user_bridge.membership;
    v_had user_bridge.membership;
BEGIN
    v_want := ROW(regexp_replace(p_item ->> 'type', '_member$', ''), v_key ->> 0, v_key ->> 1, false);
    IF p_item -> 'desired' <> 'null' THEN
        INSERT INTO user_bridge.membership SELECT v_want.* ON CONFLICT DO NOTHING;
        PERFORM user_bridge.write_memberships(v_want.group_type, v_want.group_id, ARRAY[v_want.user_id]);
        RETURN jsonb_build_object('status', 'SUCCESS');
    END IF;
    DELETE FROM user_bridge.membership AS m
     WHERE m.group_type = v_want.group_type AND m.group_id = v_want.group_id AND m.user_id = v_want.user_id
    RETURNING * INTO v_had;
    IF v_had.written THEN
        PERFORM user_bridge.remove_members(g.openwebui_id, ARRAY[u.openwebui_id])
           FROM user_bridge.entity AS g, user_bridge.entity AS u
          WHERE g.entity_type = v_had.group_type AND g.entity_id = v_had.group_id
            AND u.entity_type = 'user' AND u.entity_id = v_had.user_id;
    END IF;
    RETURN jsonb_build_object('status', 'SUCCESS');
END
$body$;
COMMENT ON FUNCTION user_bridge.apply_member(jsonb) IS
    'Makes one membership what LiteLLM wants; one that was made by hand stays.';

CREATE OR REPLACE FUNCTION user_bridge.memberships_of(p_groups jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $body$
BEGIN
    RETURN (SELECT coalesce(jsonb_agg(jsonb_build_array(m.group_type || '_member',
                                                        jsonb_build_array(m.group_id, m.user_id)::text)), '[]')
              FROM jsonb_array_elements(p_groups) AS g
              JOIN user_bridge.membership AS m ON m.group_type = g ->> 0 AND m.group_id = g ->> 1);
END
$body$;
COMMENT ON FUNCTION user_bridge.memberships_of(jsonb) IS
    'The memberships of these groups, type and id, as LiteLLM''s side names them.';

-- openwebui/31_group.sql.j2
CREATE OR REPLACE FUNCTION user_bridge.apply_group(p_item jsonb, p_link user_bridge.entity)
RETURNS jsonb
LANGUAGE plpgsql AS $body$
DECLARE
    v_want CONSTANT jsonb := p_item -> 'desired';
    v_id CONSTANT text := coalesce(p_link.openwebui_id, v_want ->> 'openwebui_id');
BEGIN
    IF v_want = 'null' THEN
        IF v_id IS NOT NULL THEN
            PERFORM user_bridge.remove_group(v_id);
            PERFORM user_bridge.link(p_link, NULL, NULL);
        END IF;
        DELETE FROM user_bridge.membership AS m
         WHERE m.group_type = p_link.entity_type AND m.group_id = p_link.entity_id;
        RETURN jsonb_build_object('status', 'SUCCESS');
    END IF;
    -- A row built from the table's own type holds whatever columns this version has. user_id and description: NULL
    -- makes the admin's group page, and on 0.6.30-0.12.4 every member's sign-in, fail. user_ids: up to 0.6.36.
    INSERT INTO public."group" AS g
    SELECT r.* FROM jsonb_populate_record(NULL::public."group", jsonb_build_object(
        'id', v_id, 'user_id', '', 'name', v_want -> 'name', 'description', '', 'user_ids', '[]'::jsonb,
        'created_at', user_bridge.epoch(), 'updated_at', user_bridge.epoch())) AS r
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, updated_at = excluded.updated_at
     WHERE g.name IS DISTINCT FROM excluded.name;
    PERFORM user_bridge.link(p_link, v_id, 'created');
    PERFORM user_bridge.write_parents(p_link, v_want ->> 'organization_id');
    PERFORM user_bridge.write_group_memberships(p_link.entity_type, p_link.entity_id);
    RETURN jsonb_build_object('status', 'SUCCESS', 'openwebui_id', v_id);
END
$body$;
COMMENT ON FUNCTION user_bridge.apply_group(jsonb, user_bridge.entity) IS
    'Makes one group what LiteLLM''s organization or team is.';

CREATE OR REPLACE FUNCTION user_bridge.write_parents(p_link user_bridge.entity, p_organization_id text) RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    IF p_link.parent_id IS DISTINCT FROM p_organization_id THEN
        UPDATE user_bridge.entity AS e SET parent_id = p_organization_id
         WHERE e.entity_type = p_link.entity_type AND e.entity_id = p_link.entity_id;
    END IF;
    -- 0.12.0 and newer: what an organization's group may see, its teams' groups may see.
    IF user_bridge.has_column('public."group"', 'parent_group_id') THEN
        EXECUTE
            'UPDATE public."group" AS g SET parent_group_id = parent.openwebui_id
               FROM user_bridge.entity AS team
               LEFT JOIN user_bridge.entity AS parent
                      ON parent.entity_type = ''organization'' AND parent.entity_id = team.parent_id
              WHERE g.id = team.openwebui_id AND team.entity_type = ''team''
                AND (team.entity_id = $2 OR team.parent_id = $1)
                AND g.parent_group_id IS DISTINCT FROM parent.openwebui_id'
            USING CASE p_link.entity_type WHEN 'organization' THEN p_link.entity_id END,
                  CASE p_link.entity_type WHEN 'team' THEN p_link.entity_id END;
    END IF;
END
$body$;
COMMENT ON FUNCTION user_bridge.write_parents(user_bridge.entity, text) IS
    'Puts a team''s group below its organization''s, or an organization''s below which its teams'' were missing.';

CREATE OR REPLACE FUNCTION user_bridge.remove_group(p_id text) RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    DELETE FROM public."group" WHERE id = p_id;
    IF to_regclass('public.access_grant') IS NOT NULL THEN
        -- 0.8.0 and newer, without foreign keys: a later group of this id would inherit the grants.
        EXECUTE 'DELETE FROM public.access_grant WHERE principal_type = ''group'' AND principal_id = $1' USING p_id;
    END IF;
END
$body$;
COMMENT ON FUNCTION user_bridge.remove_group(text) IS 'Deletes a group with its memberships and grants.';

-- openwebui/32_user.sql.j2
CREATE OR REPLACE FUNCTION user_bridge.apply_user(p_item jsonb, p_link user_bridge.entity, p_options jsonb)
RETURNS jsonb
LANGUAGE plpgsql AS $body$
DECLARE
    v_want jsonb := p_item -> 'desired';
    v_now public."user";
    v_feasible record;
BEGIN
    IF p_link.openwebui_id IS NOT NULL THEN
        SELECT * INTO v_now FROM public."user" AS u WHERE u.id = p_link.openwebui_id;
    END IF;
    IF v_want = 'null' THEN
        RETURN user_bridge.retire_account(p_item ->> 'skipped', p_link, v_now.id, p_options);
    END IF;
    IF v_now.id IS NULL THEN
        -- Somebody may have deleted the account in Open WebUI, and the memberships with it.
        p_link.openwebui_id := NULL;
        v_now := user_bridge.find_account(v_want);
        IF v_now.id <> v_want ->> 'openwebui_id' AND NOT (p_options ->> 'adopt_existing')::boolean THEN
            PERFORM user_bridge.link(p_link, NULL, NULL);
            RETURN jsonb_build_object('status', 'SKIPPED', 'message',
                'Open WebUI has an account with this email, and bridge_adopt_existing is false');
        END IF;
    END IF;
    v_feasible := user_bridge.feasible_account(v_want, v_now);
    v_want := v_feasible.want;
    IF v_now.id IS NULL THEN
        PERFORM user_bridge.create_account(v_want);
    ELSE
        PERFORM user_bridge.update_account(v_now.id, v_want);
        v_want := v_want || jsonb_build_object('openwebui_id', v_now.id);
    END IF;
    PERFORM user_bridge.link_account(p_link, p_item #>> '{desired,openwebui_id}', v_want ->> 'openwebui_id');
    PERFORM user_bridge.write_sign_in(p_link, v_want, p_options);
    RETURN jsonb_build_object(
        'status', CASE WHEN v_feasible.refused = '{}' THEN 'SUCCESS' ELSE 'WARNING' END,
        'openwebui_id', v_want ->> 'openwebui_id',
        'message', nullif(array_to_string(v_feasible.refused, '; '), ''),
        'retry', v_feasible.retry);
END
$body$;
COMMENT ON FUNCTION user_bridge.apply_user(jsonb, user_bridge.entity, jsonb) IS
    'Makes one account what LiteLLM''s user is.';

CREATE OR REPLACE FUNCTION user_bridge.find_account(p_want jsonb) RETURNS public."user"
LANGUAGE plpgsql STABLE AS $body$
DECLARE
    v_account public."user";
BEGIN
    -- An account that stands for another LiteLLM user is never taken over; equal emails are settled on LiteLLM's side.
    SELECT u.* INTO v_account
      FROM public."user" AS u
     WHERE lower(u.email) = p_want ->> 'email' AND u.email IS NOT NULL
       -- Not NOT EXISTS: planned while the tables are empty, that stays a join with all entities for good.
       AND (SELECT e.entity_id FROM user_bridge.entity AS e
             WHERE e.entity_type = 'user' AND e.openwebui_id = u.id) IS NULL
     ORDER BY u.email = p_want ->> 'email' DESC, u.created_at, u.id
     LIMIT 1;
    IF NOT FOUND THEN
        SELECT u.* INTO v_account FROM public."user" AS u WHERE u.id = p_want ->> 'openwebui_id';
    END IF;
    RETURN v_account;
END
$body$;
COMMENT ON FUNCTION user_bridge.find_account(jsonb) IS
    'The account that a LiteLLM user gets who has none yet: the one with the email, else the one left from before.';

CREATE OR REPLACE FUNCTION user_bridge.feasible_account(
    p_want jsonb, p_now public."user", OUT want jsonb, OUT refused text[], OUT retry boolean)
LANGUAGE plpgsql AS $body$
BEGIN
    want := user_bridge.with_account_role(p_want);
    refused := '{}';
    retry := false;
    -- No version's column is shorter than 255.
    IF length(want ->> 'name') > 255 AND NOT user_bridge.fits_column('public.user', 'name', want ->> 'name') THEN
        refused := refused || format('name refused: Open WebUI''s column is too short for %s characters',
                                     length(want ->> 'name'));
        want := want || jsonb_build_object('name', coalesce(p_now.name, split_part(want ->> 'email', '@', 1)));
    END IF;
    IF user_bridge.email_is_taken(want ->> 'email', p_now.id) THEN
        refused := refused || 'email refused: an Open WebUI account that is not LiteLLM''s has it'::text;
        want := want || jsonb_build_object('email', p_now.email);
        retry := true;
    END IF;
    IF want ->> 'role' <> 'admin' AND user_bridge.is_last_admin(p_now.id) THEN
        refused := refused || 'role refused: this is Open WebUI''s last admin'::text;
        want := want || '{"role": "admin", "disabled": false}';
        retry := true;
    END IF;
END
$body$;
COMMENT ON FUNCTION user_bridge.feasible_account(jsonb, public."user") IS
    'What can be had of a wanted account. One refused field leaves the others to be written: a role that is taken '
    'away must not survive because of a name.';

CREATE OR REPLACE FUNCTION user_bridge.with_account_role(p_want jsonb) RETURNS jsonb
-- Not IMMUTABLE: jsonb_build_object() is not, and PostgreSQL would plan this anew on each call instead of inlining it.
LANGUAGE sql STABLE AS $body$
    SELECT p_want || jsonb_build_object('role',
        CASE WHEN (p_want ->> 'disabled')::boolean THEN 'pending' ELSE p_want ->> 'role' END)
$body$;
COMMENT ON FUNCTION user_bridge.with_account_role(jsonb) IS 'A wanted account with the role it has: a disabled one waits for approval.';

CREATE OR REPLACE FUNCTION user_bridge.email_is_taken(p_email text, p_account text) RETURNS boolean
LANGUAGE plpgsql AS $body$
DECLARE
    v_other record;
BEGIN
    FOR v_other IN
        SELECT u.id, EXISTS (SELECT FROM user_bridge.entity AS e
                              WHERE e.entity_type = 'user' AND e.openwebui_id = u.id) AS linked
          FROM public."user" AS u
         WHERE lower(u.email) = p_email AND u.email IS NOT NULL AND u.id IS DISTINCT FROM p_account
    LOOP
        IF NOT v_other.linked THEN
            RETURN true;
        END IF;
        -- LiteLLM gave the email to somebody else; the other account gets its own from its user's delivery.
        UPDATE public."user" SET email = 'moved+' || v_other.id || '@user-bridge.invalid' WHERE id = v_other.id;
        UPDATE public.auth SET email = 'moved+' || v_other.id || '@user-bridge.invalid' WHERE id = v_other.id;
    END LOOP;
    RETURN false;
END
$body$;
COMMENT ON FUNCTION user_bridge.email_is_taken(text, text) IS
    'Frees the email if accounts of other LiteLLM users hold it; whether an account of nobody''s holds it.';

CREATE OR REPLACE FUNCTION user_bridge.is_last_admin(p_account text) RETURNS boolean
LANGUAGE plpgsql AS $body$
BEGIN
    IF NOT EXISTS (SELECT FROM public."user" AS u WHERE u.id = p_account AND u.role = 'admin') THEN
        RETURN false;
    END IF;
    -- Two admins demoted at once would each see the other.
    PERFORM pg_advisory_xact_lock(hashtextextended('user_bridge admins', 0));
    RETURN NOT EXISTS (SELECT FROM public."user" AS u JOIN public.auth AS a USING (id)
                        WHERE u.role = 'admin' AND a.active AND u.id <> p_account);
END
$body$;
COMMENT ON FUNCTION user_bridge.is_last_admin(text) IS 'Whether nobody else could administer Open WebUI.';

CREATE OR REPLACE FUNCTION user_bridge.bridge_info(p_info text, p_want jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $body$
    -- A new account has none: not worth a call with a subtransaction.
    SELECT CASE WHEN p_info IS NULL THEN '{}' ELSE user_bridge.json_object(p_info) END
           || jsonb_build_object('user_bridge', jsonb_build_object('original_role', p_want -> 'original_role'))
$body$;
COMMENT ON FUNCTION user_bridge.bridge_info(text, jsonb) IS
    'An account''s info with the bridge''s part merged in; settings is the person''s own and never written.';

CREATE OR REPLACE FUNCTION user_bridge.new_account(p_want jsonb) RETURNS public."user"
LANGUAGE plpgsql AS $body$
BEGIN
    -- A row built from the table's own type holds whatever columns, and types of columns, this version has.
    RETURN jsonb_populate_record(NULL::public."user", jsonb_build_object(
        'id', p_want -> 'openwebui_id', 'name', p_want -> 'name', 'email', p_want -> 'email', 'role', p_want -> 'role',
        'profile_image_url', '/user.png', 'info', user_bridge.bridge_info(NULL, p_want),
        'created_at', user_bridge.epoch(), 'updated_at', user_bridge.epoch(),
        'last_active_at', user_bridge.epoch()));
END
$body$;
COMMENT ON FUNCTION user_bridge.new_account(jsonb) IS 'The row of a new account, with every column that no version may miss.';

CREATE OR REPLACE FUNCTION user_bridge.create_account(p_want jsonb) RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    INSERT INTO public."user" SELECT a.* FROM user_bridge.new_account(p_want) AS a;
END
$body$;
COMMENT ON FUNCTION user_bridge.create_account(jsonb) IS 'Inserts an account.';

CREATE OR REPLACE FUNCTION user_bridge.update_account(p_account text, p_want jsonb) RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    UPDATE public."user" AS u
       SET name = p_want ->> 'name', email = p_want ->> 'email', role = p_want ->> 'role', info = new.info,
           updated_at = user_bridge.epoch()
      FROM public."user" AS old
     CROSS JOIN LATERAL jsonb_populate_record(NULL::public."user", jsonb_build_object(
           'info', user_bridge.bridge_info(old.info::text, p_want))) AS new
     WHERE u.id = p_account AND old.id = p_account
       AND (old.name, old.email, old.role, user_bridge.json_object(old.info::text))
           IS DISTINCT FROM (p_want ->> 'name', p_want ->> 'email', p_want ->> 'role',
                             user_bridge.json_object(new.info::text));
END
$body$;
COMMENT ON FUNCTION user_bridge.update_account(text, jsonb) IS 'Changes an account where it differs.';

CREATE OR REPLACE FUNCTION user_bridge.link_account(p_link user_bridge.entity, p_own_id text, p_account text)
RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    IF p_link.openwebui_id IS DISTINCT FROM p_account THEN
        PERFORM user_bridge.link(p_link, p_account, CASE WHEN p_account = p_own_id THEN 'created' ELSE 'adopted' END);
        UPDATE user_bridge.membership AS m SET written = false WHERE m.user_id = p_link.entity_id AND m.written;
    END IF;
    PERFORM user_bridge.write_user_memberships(p_link.entity_id);
END
$body$;
COMMENT ON FUNCTION user_bridge.link_account(user_bridge.entity, text, text) IS
    'Remembers which account is the user''s, and writes the memberships that waited for it.';

-- openwebui/33_sign_in.sql.j2
CREATE OR REPLACE FUNCTION user_bridge.initial_password(p_want jsonb, p_options jsonb) RETURNS text
LANGUAGE sql VOLATILE AS $body$
    -- No hash equals '', so nobody signs in with a password until one is set; Open WebUI accepts such rows.
    SELECT CASE
        WHEN p_options ->> 'initial_password' = 'random' THEN
            user_bridge.crypt(gen_random_uuid()::text || gen_random_uuid()::text,
                user_bridge.gen_salt('bf', (p_options ->> 'password_cost')::integer))
        WHEN p_options ->> 'initial_password' = 'email'
             AND (p_want ->> 'role' <> 'admin' OR (p_options ->> 'initial_password_admins')::boolean) THEN
            user_bridge.crypt(p_want ->> 'email',
                user_bridge.gen_salt('bf', (p_options ->> 'password_cost')::integer))
        ELSE ''
    END
$body$;
COMMENT ON FUNCTION user_bridge.initial_password(jsonb, jsonb) IS
    'The bcrypt hash that a new account starts with. Anybody who knows an admin''s email could guess ''email''.';

CREATE OR REPLACE FUNCTION user_bridge.secret_mark(p_hash text) RETURNS text
LANGUAGE sql IMMUTABLE AS $body$
    SELECT encode(sha256(convert_to(p_hash, 'UTF8')), 'hex')
$body$;
COMMENT ON FUNCTION user_bridge.secret_mark(text) IS 'A digest of a stored secret, good only for recognizing it.';

CREATE OR REPLACE FUNCTION user_bridge.write_sign_in(p_link user_bridge.entity, p_want jsonb, p_options jsonb)
RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    v_id CONSTANT text := p_want ->> 'openwebui_id';
    v_active CONSTANT boolean := NOT (p_want ->> 'disabled')::boolean;
    v_now public.auth;
    v_hash text;
BEGIN
    SELECT * INTO v_now FROM public.auth AS a WHERE a.id = v_id;
    IF v_now.id IS NULL THEN
        -- From 0.12.0 on every kind of sign-in, single sign-on included, needs this row.
        v_hash := user_bridge.initial_password(p_want, p_options);
        INSERT INTO public.auth (id, email, password, active) VALUES (v_id, p_want ->> 'email', v_hash, v_active);
        IF v_hash <> '' THEN
            UPDATE user_bridge.entity AS e
               SET initial_password_mark = user_bridge.secret_mark(v_hash), initial_password_at = clock_timestamp()
             WHERE e.entity_type = p_link.entity_type AND e.entity_id = p_link.entity_id;
        END IF;
        RETURN;
    END IF;
    IF (v_now.email, v_now.active) IS DISTINCT FROM (p_want ->> 'email', v_active) THEN
        UPDATE public.auth AS a SET email = p_want ->> 'email', active = v_active WHERE a.id = v_id;
    END IF;
    IF NOT v_active AND v_now.active THEN
        PERFORM user_bridge.end_sessions(v_id);
    END IF;
    IF p_want ->> 'role' = 'admin' AND NOT (p_options ->> 'initial_password_admins')::boolean THEN
        PERFORM user_bridge.expire_initial_password(p_link);
    END IF;
END
$body$;
COMMENT ON FUNCTION user_bridge.write_sign_in(user_bridge.entity, jsonb, jsonb) IS
    'Makes an account''s auth row what LiteLLM wants; an existing password is never touched.';

CREATE OR REPLACE FUNCTION user_bridge.expire_initial_password(p_link user_bridge.entity) RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    UPDATE public.auth AS a SET password = ''
     WHERE a.id = p_link.openwebui_id AND user_bridge.secret_mark(a.password) = p_link.initial_password_mark;
END
$body$;
COMMENT ON FUNCTION user_bridge.expire_initial_password(user_bridge.entity) IS
    'Makes the initial password unusable, if the person has not changed it.';

CREATE OR REPLACE FUNCTION user_bridge.expire_initial_passwords(p_hours integer) RETURNS jsonb
LANGUAGE plpgsql AS $body$
DECLARE
    v_expired jsonb;
BEGIN
    WITH due AS (
        UPDATE user_bridge.entity AS e SET initial_password_at = NULL
         WHERE e.initial_password_at < clock_timestamp() - make_interval(hours => p_hours)
        RETURNING e.entity_id, e.openwebui_id, e.initial_password_mark
    ), expired AS (
        UPDATE public.auth AS a SET password = ''
          FROM due
         WHERE a.id = due.openwebui_id AND user_bridge.secret_mark(a.password) = due.initial_password_mark
        RETURNING due.entity_id
    )
    SELECT coalesce(jsonb_agg(expired.entity_id), '[]') INTO v_expired FROM expired;
    RETURN v_expired;
END
$body$;
COMMENT ON FUNCTION user_bridge.expire_initial_passwords(integer) IS
    'Makes initial passwords unusable that nobody changed within p_hours hours; returns the LiteLLM users.';

CREATE OR REPLACE FUNCTION user_bridge.end_sessions(p_account text) RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    IF user_bridge.has_column('public.auth', 'session_stamp') THEN
        EXECUTE 'UPDATE public.auth SET session_stamp = gen_random_uuid()::text WHERE id = $1' USING p_account;
    END IF;
END
$body$;
COMMENT ON FUNCTION user_bridge.end_sessions(text) IS
    'Ends live sessions where this Open WebUI can (0.12.0 on); before, the role pending keeps them out of the API.';

-- openwebui/34_retire.sql.j2
CREATE OR REPLACE FUNCTION user_bridge.retire_account(
    p_skipped text, p_link user_bridge.entity, p_account text, p_options jsonb)
RETURNS jsonb
LANGUAGE plpgsql AS $body$
DECLARE
    c_status CONSTANT text := CASE WHEN p_skipped IS NULL THEN 'SUCCESS' ELSE 'SKIPPED' END;
    c_delete CONSTANT boolean := p_skipped IS NULL AND p_link.origin = 'created'
                                 AND p_options ->> 'on_user_delete' = 'delete';
    c_keep CONSTANT boolean := p_skipped IS NULL AND p_link.origin = 'created'
                               AND p_options ->> 'on_user_delete' = 'keep';
BEGIN
    IF p_account IS NULL THEN
        PERFORM user_bridge.link(p_link, NULL, NULL);
        RETURN jsonb_build_object('status', c_status);
    END IF;
    IF NOT c_keep AND user_bridge.is_last_admin(p_account) THEN
        RETURN jsonb_build_object('status', 'WARNING', 'openwebui_id', p_account, 'retry', true,
            'message', 'kept: this is Open WebUI''s last admin');
    END IF;
    IF p_skipped IS NOT NULL THEN
        -- Still LiteLLM's user: the account comes back to life with the next usable email.
        PERFORM user_bridge.disable_account(p_account);
        RETURN jsonb_build_object('status', c_status, 'openwebui_id', p_account);
    END IF;
    PERFORM user_bridge.withdraw_memberships(p_link.entity_id, p_account);
    IF c_delete THEN
        PERFORM user_bridge.delete_account(p_account);
    ELSIF NOT c_keep THEN
        PERFORM user_bridge.disable_account(p_account);
    END IF;
    PERFORM user_bridge.link(p_link, NULL, NULL);
    RETURN jsonb_build_object('status', c_status);
END
$body$;
COMMENT ON FUNCTION user_bridge.retire_account(text, user_bridge.entity, text, jsonb) IS
    'What happens to the account of a user who is gone (bridge_on_user_delete; an adopted one is only disabled) or '
    'skipped (disabled).';

CREATE OR REPLACE FUNCTION user_bridge.withdraw_memberships(p_user text, p_account text) RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    v_group text;
BEGIN
    FOR v_group IN
        SELECT g.openwebui_id
          FROM user_bridge.membership AS m
          JOIN user_bridge.entity AS g ON g.entity_type = m.group_type AND g.entity_id = m.group_id
         WHERE m.user_id = p_user AND m.written AND g.openwebui_id IS NOT NULL
         ORDER BY 1
    LOOP
        PERFORM user_bridge.remove_members(v_group, ARRAY[p_account]);
    END LOOP;
    UPDATE user_bridge.membership AS m SET written = false WHERE m.user_id = p_user AND m.written;
END
$body$;
COMMENT ON FUNCTION user_bridge.withdraw_memberships(text, text) IS 'Takes an account out of the groups the bridge put it in.';

CREATE OR REPLACE FUNCTION user_bridge.disable_account(p_account text) RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    UPDATE public."user" AS u SET role = 'pending', updated_at = user_bridge.epoch()
     WHERE u.id = p_account AND u.role IS DISTINCT FROM 'pending';
    UPDATE public.auth AS a SET active = false WHERE a.id = p_account AND a.active IS DISTINCT FROM false;
    IF FOUND THEN
        PERFORM user_bridge.end_sessions(p_account);
    END IF;
END
$body$;
COMMENT ON FUNCTION user_bridge.disable_account(text) IS 'Keeps a person out, and their chats owned.';

CREATE OR REPLACE FUNCTION user_bridge.delete_account(p_account text) RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    IF to_regclass('public.group_member') IS NULL THEN
        -- 0.6.36 and older: ids of nobody in user_ids make the migration of 0.6.37 fail.
        PERFORM user_bridge.remove_members(g.id, ARRAY[p_account])
           FROM public."group" AS g WHERE to_jsonb(g) -> 'user_ids' ? p_account;
    END IF;
    IF to_regclass('public.access_grant') IS NOT NULL THEN
        EXECUTE 'DELETE FROM public.access_grant WHERE principal_type = ''user'' AND principal_id = $1' USING p_account;
    END IF;
    DELETE FROM public.auth AS a WHERE a.id = p_account;
    DELETE FROM public."user" AS u WHERE u.id = p_account;
END
$body$;
COMMENT ON FUNCTION user_bridge.delete_account(text) IS
    'Deletes account, sign-in, memberships, grants and keys; chats stay, and are found again under the same id.';

-- openwebui/35_mirror.sql.j2
-- Only with bridge_api_keys: mirror. The slot holds a key to Open WebUI itself; LiteLLM's token opens nothing there.

CREATE OR REPLACE FUNCTION user_bridge.key_slot(p_account text) RETURNS text
LANGUAGE plpgsql STABLE AS $body$
DECLARE
    v_key text;
BEGIN
    IF user_bridge.has_column('public.user', 'api_key') THEN
        EXECUTE 'SELECT u.api_key FROM public."user" AS u WHERE u.id = $1' INTO v_key USING p_account;
    ELSE
        EXECUTE 'SELECT k.key FROM public.api_key AS k WHERE k.user_id = $1 ORDER BY k.created_at LIMIT 1'
           INTO v_key USING p_account;
    END IF;
    RETURN v_key;
END
$body$;
COMMENT ON FUNCTION user_bridge.key_slot(text) IS
    'The API key of an account: user.api_key up to 0.6.40, the table api_key from 0.6.41 on.';

CREATE OR REPLACE FUNCTION user_bridge.write_key_slot(p_account text, p_key text) RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    IF user_bridge.has_column('public.user', 'api_key') THEN
        EXECUTE 'UPDATE public."user" SET api_key = $2 WHERE id = $1' USING p_account, p_key;
        RETURN;
    END IF;
    EXECUTE 'DELETE FROM public.api_key WHERE user_id = $1' USING p_account;
    IF p_key IS NOT NULL THEN
        EXECUTE
            'INSERT INTO public.api_key (id, user_id, key, created_at, updated_at)
             VALUES (''key_'' || $1, $1, $2, user_bridge.epoch(), user_bridge.epoch())'
            USING p_account, p_key;
    END IF;
END
$body$;
COMMENT ON FUNCTION user_bridge.write_key_slot(text, text) IS 'Puts a key into an account''s slot, or empties it.';

CREATE OR REPLACE FUNCTION user_bridge.apply_user_key(p_item jsonb, p_link user_bridge.entity)
RETURNS jsonb
LANGUAGE plpgsql AS $body$
DECLARE
    v_account text;
    v_want CONSTANT text := p_item #>> '{desired,token}';
    v_now text;
BEGIN
    SELECT e.openwebui_id INTO v_account
      FROM user_bridge.entity AS e WHERE e.entity_type = 'user' AND e.entity_id = p_link.entity_id;
    IF v_account IS NULL THEN
        RETURN '{"status": "SKIPPED", "message": "the key''s user has no account"}'::jsonb;
    END IF;
    v_now := user_bridge.key_slot(v_account);
    IF v_now IS NOT NULL AND user_bridge.secret_mark(v_now) IS DISTINCT FROM p_link.mirrored_mark THEN
        RETURN '{"status": "SKIPPED", "message": "the person made an API key in Open WebUI"}'::jsonb;
    END IF;
    IF v_now IS DISTINCT FROM v_want THEN
        PERFORM user_bridge.write_key_slot(v_account, v_want);
        UPDATE user_bridge.entity AS e SET mirrored_mark = user_bridge.secret_mark(v_want)
         WHERE e.entity_type = p_link.entity_type AND e.entity_id = p_link.entity_id;
    END IF;
    RETURN jsonb_build_object('status', 'SUCCESS',
                              'openwebui_id', CASE WHEN v_want IS NOT NULL THEN v_account END);
END
$body$;
COMMENT ON FUNCTION user_bridge.apply_user_key(jsonb, user_bridge.entity) IS
    'Mirrors a user''s newest usable key into the slot; a key that the person made stays.';

-- openwebui/36_removal_guard.sql.j2
-- "Source is empty" read as "delete everybody" is what hurts users of such bridges most (Keycloak, authentik). More
-- than the limit within ten minutes is therefore parked on LiteLLM's side until somebody approves.

CREATE OR REPLACE FUNCTION user_bridge.accounts_losing(p_item jsonb) RETURNS text[]
LANGUAGE plpgsql STABLE AS $body$
DECLARE
    v_type CONSTANT text := p_item ->> 'type';
    v_id CONSTANT text := p_item ->> 'id';
BEGIN
    -- A membership outlives an account that was deleted in Open WebUI: nobody loses it.
    RETURN array_remove(CASE
        WHEN v_type = 'user' AND (p_item -> 'desired' = 'null' OR p_item #> '{desired,disabled}' = 'true') THEN
            array(SELECT u.id FROM user_bridge.entity AS e JOIN public."user" AS u ON u.id = e.openwebui_id
                   WHERE e.entity_type = 'user' AND e.entity_id = v_id AND u.role IS DISTINCT FROM 'pending')
        WHEN p_item -> 'desired' <> 'null' THEN '{}'
        WHEN v_type LIKE '%\_member' THEN
            array(SELECT u.openwebui_id
                    FROM user_bridge.membership AS m
                    JOIN user_bridge.entity AS u ON u.entity_type = 'user' AND u.entity_id = m.user_id
                   WHERE m.group_type = regexp_replace(v_type, '_member$', '')
                     AND m.group_id = v_id::jsonb ->> 0 AND m.user_id = v_id::jsonb ->> 1 AND m.written)
        WHEN v_type IN ('organization', 'team') THEN
            array(SELECT u.openwebui_id
                    FROM user_bridge.membership AS m
                    JOIN user_bridge.entity AS u ON u.entity_type = 'user' AND u.entity_id = m.user_id
                   WHERE m.group_type = v_type AND m.group_id = v_id AND m.written)
        ELSE '{}'
    END, NULL);
END
$body$;
COMMENT ON FUNCTION user_bridge.accounts_losing(jsonb) IS
    'The accounts that an item would delete, disable or strip of a membership that the bridge gave.';

CREATE OR REPLACE FUNCTION user_bridge.removal_limit(p_options jsonb) RETURNS bigint
LANGUAGE plpgsql STABLE AS $body$
BEGIN
    RETURN greatest((p_options ->> 'removal_accounts')::bigint,
                    floor((p_options ->> 'removal_percent')::numeric * user_bridge.count_accounts() / 100)::bigint);
END
$body$;
COMMENT ON FUNCTION user_bridge.removal_limit(jsonb) IS
    'How many accounts may lose something within ten minutes (bridge_removal_limit): the larger of number and percentage.';

CREATE OR REPLACE FUNCTION user_bridge.removes_too_much(p_request jsonb) RETURNS boolean
LANGUAGE plpgsql AS $body$
DECLARE
    c_window CONSTANT interval := interval '10 minutes';
    v_options CONSTANT jsonb := p_request -> 'options';
    v_accounts text[];
    v_count bigint;
BEGIN
    IF p_request ? 'approved' OR NOT p_request @? '$.items[*] ? (@.desired == null || @.desired.disabled == true)' THEN
        RETURN false;
    END IF;
    -- Before any row is locked: two calls would otherwise each count without the other, or deadlock.
    PERFORM pg_advisory_xact_lock(hashtextextended('user_bridge removals', 0));
    v_accounts := array(SELECT DISTINCT unnest(user_bridge.accounts_losing(i))
                          FROM jsonb_array_elements(p_request -> 'items') AS i);
    IF v_accounts = '{}' THEN
        RETURN false;
    END IF;
    DELETE FROM user_bridge.removal AS r WHERE r.removed_at < clock_timestamp() - c_window;
    v_count := greatest(cardinality(v_accounts), (p_request ->> 'removals_pending')::bigint);
    IF (p_request ->> 'source_is_empty')::boolean AND v_count > 1 THEN
        RETURN true;
    END IF;
    v_count := greatest(v_count, (SELECT count(*) FROM (SELECT r.account FROM user_bridge.removal AS r
                                                         UNION SELECT unnest(v_accounts)) AS lost));
    IF v_count > (v_options ->> 'removal_accounts')::bigint AND v_count > user_bridge.removal_limit(v_options) THEN
        RETURN true;
    END IF;
    INSERT INTO user_bridge.removal AS r (account) SELECT unnest(v_accounts)
    ON CONFLICT (account) DO UPDATE SET removed_at = excluded.removed_at;
    RETURN false;
END
$body$;
COMMENT ON FUNCTION user_bridge.removes_too_much(jsonb) IS
    'Whether the removals of a request, with those of the last ten minutes, are more than may go without approval.';

CREATE OR REPLACE FUNCTION user_bridge.hold_back(p_request jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $body$
DECLARE
    v_state text;
    v_message text;
BEGIN
    IF user_bridge.removes_too_much(p_request) THEN
        RETURN jsonb_build_object('status', 'PARKED', 'message',
            'too many removals within ten minutes: waits for approve_removals() or reject_removals()');
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    -- Everything else must flow.
    GET STACKED DIAGNOSTICS v_state = RETURNED_SQLSTATE, v_message = MESSAGE_TEXT;
    RETURN jsonb_build_object('status', 'FAILED', 'sqlstate', v_state,
                              'message', 'the removal guard failed: ' || v_message);
END
$body$;
COMMENT ON FUNCTION user_bridge.hold_back(jsonb) IS
    'The outcome that the removals of a request have instead of being made; NULL: they may go.';

-- openwebui/38_many.sql.j2
-- Many items at once, for migrations and long queues: what is plainly new is inserted in a few statements. Everything
-- else, and everything as soon as one of these statements fails, goes item by item. No rule of its own: the rows come
-- from the functions that make a single one. Planned anew on each call, because a plan that was made for empty tables
-- goes through whole tables for each item once they are full.

CREATE OR REPLACE FUNCTION user_bridge.plain_accounts(p_request jsonb)
RETURNS TABLE (ord bigint, user_id text, want jsonb)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $body$
DECLARE
    v_ords bigint[];
    v_ids text[];
    v_wants jsonb[];
    v_accounts text[];
    v_emails text[];
    v_longest text;
BEGIN
    -- Hashing passwords takes so long that a call must be able to stop between two of them.
    IF p_request #>> '{options,initial_password}' <> 'none' THEN
        RETURN;
    END IF;
    SELECT array_agg(w.ord), array_agg(w.id), array_agg(user_bridge.with_account_role(w.desired)),
           array_agg(w.desired ->> 'openwebui_id'), array_agg(w.desired ->> 'email'),
           (array_agg(w.desired ->> 'name' ORDER BY length(w.desired ->> 'name') DESC))[1]
      INTO v_ords, v_ids, v_wants, v_accounts, v_emails, v_longest
      FROM (SELECT i.ord, i.item ->> 'id' AS id, i.item -> 'desired' AS desired
              FROM jsonb_array_elements(p_request -> 'items') WITH ORDINALITY AS i(item, ord)
             WHERE i.item ->> 'type' = 'user' AND i.item -> 'desired' <> 'null') AS w;
    IF NOT user_bridge.fits_column('public.user', 'name', v_longest) THEN
        RETURN;
    END IF;
    -- From arrays, whose length the planner knows: without an index on the email (before 0.11.0) it must not go through
    -- all accounts for each item.
    RETURN QUERY
    SELECT w.ord, w.id, w.want
      FROM unnest(v_ords, v_ids, v_wants, v_accounts, v_emails) AS w(ord, id, want, account, email)
     WHERE NOT EXISTS (SELECT FROM user_bridge.entity AS e WHERE e.entity_type = 'user' AND e.entity_id = w.id)
       AND NOT EXISTS (SELECT FROM public."user" AS u WHERE u.id = w.account)
       AND NOT EXISTS (SELECT FROM public.auth AS a WHERE a.id = w.account)
       AND NOT EXISTS (SELECT FROM public."user" AS u WHERE lower(u.email) = w.email AND u.email IS NOT NULL);
END
$body$;
COMMENT ON FUNCTION user_bridge.plain_accounts(jsonb) IS
    'The items, by position, that nothing is to be found for: no account with their email or id, no earlier delivery.';

CREATE OR REPLACE FUNCTION user_bridge.create_accounts(p_request jsonb) RETURNS jsonb
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $body$
DECLARE
    v_done jsonb;
BEGIN
    WITH plain AS MATERIALIZED (
        SELECT * FROM user_bridge.plain_accounts(p_request)
    ), account AS (
        INSERT INTO public."user" SELECT a.* FROM plain CROSS JOIN LATERAL user_bridge.new_account(plain.want) AS a
    ), sign_in AS (
        -- As write_sign_in() does for one.
        INSERT INTO public.auth (id, email, password, active)
        SELECT p.want ->> 'openwebui_id', p.want ->> 'email',
               user_bridge.initial_password(p.want, p_request -> 'options'), NOT (p.want ->> 'disabled')::boolean
          FROM plain AS p
    ), linked AS (
        INSERT INTO user_bridge.entity (entity_type, entity_id, version, source_txid, openwebui_id, origin)
        SELECT 'user', p.user_id, (p_request ->> 'version')::bigint, p_request ->> 'txid', p.want ->> 'openwebui_id',
               'created'
          FROM plain AS p
    )
    SELECT jsonb_object_agg(p.ord, jsonb_build_object('status', 'SUCCESS', 'openwebui_id', p.want -> 'openwebui_id'))
      INTO v_done
      FROM plain AS p;
    -- In one order for everybody: before 0.6.37 a membership locks its group.
    PERFORM user_bridge.write_memberships(w.group_type, w.group_id, w.user_ids)
       FROM (SELECT m.group_type, m.group_id, array_agg(m.user_id) AS user_ids
               FROM user_bridge.membership AS m
              WHERE NOT m.written AND m.user_id IN (
                        SELECT i.item ->> 'id'
                          FROM jsonb_array_elements(p_request -> 'items') WITH ORDINALITY AS i(item, ord)
                         WHERE v_done ? i.ord::text)
              GROUP BY m.group_type, m.group_id ORDER BY m.group_type, m.group_id) AS w;
    RETURN coalesce(v_done, '{}');
END
$body$;
COMMENT ON FUNCTION user_bridge.create_accounts(jsonb) IS
    'Creates the accounts of plain_accounts(), with the memberships that waited for them; returns outcomes by position.';

CREATE OR REPLACE FUNCTION user_bridge.create_memberships(p_request jsonb) RETURNS jsonb
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $body$
DECLARE
    v_done jsonb;
BEGIN
    WITH item AS MATERIALIZED (
        -- Without a group or an account it waits for it, as in write_memberships().
        SELECT i.ord, i.type, i.id, i.group_type, i.group_id, i.user_id,
               g.openwebui_id AS target, u.openwebui_id AS account
          FROM (SELECT n.ord, n.item ->> 'type' AS type, n.item ->> 'id' AS id,
                       regexp_replace(n.item ->> 'type', '_member$', '') AS group_type,
                       (n.item ->> 'id')::jsonb ->> 0 AS group_id, (n.item ->> 'id')::jsonb ->> 1 AS user_id
                  FROM jsonb_array_elements(p_request -> 'items') WITH ORDINALITY AS n(item, ord)
                 WHERE n.item ->> 'type' LIKE '%\_member' AND n.item -> 'desired' <> 'null') AS i
          LEFT JOIN user_bridge.entity AS g ON g.entity_type = i.group_type AND g.entity_id = i.group_id
          LEFT JOIN user_bridge.entity AS u ON u.entity_type = 'user' AND u.entity_id = i.user_id
         WHERE NOT EXISTS (SELECT FROM user_bridge.entity AS e WHERE e.entity_type = i.type AND e.entity_id = i.id)
    ), added AS MATERIALIZED (
        SELECT t.target, a.account
          FROM (SELECT i.target, array_agg(i.account) AS accounts FROM item AS i
                 WHERE i.target IS NOT NULL AND i.account IS NOT NULL GROUP BY i.target ORDER BY i.target) AS t
         CROSS JOIN LATERAL user_bridge.add_members(t.target, t.accounts) AS a(account)
    ), claimed AS (
        INSERT INTO user_bridge.entity (entity_type, entity_id, version, source_txid)
        SELECT i.type, i.id, (p_request ->> 'version')::bigint, p_request ->> 'txid' FROM item AS i
    ), wanted AS (
        -- Written at once: an update afterwards would go through all members that the group has by then. And by IN,
        -- which hashes: a join of these two the planner takes for one of few rows, and compares each with each.
        INSERT INTO user_bridge.membership AS m (group_type, group_id, user_id, written)
        SELECT i.group_type, i.group_id, i.user_id,
               coalesce((i.target, i.account) IN (SELECT a.target, a.account FROM added AS a), false)
          FROM item AS i
        ON CONFLICT (group_type, group_id, user_id) DO UPDATE SET written = true WHERE excluded.written AND NOT m.written
    )
    SELECT jsonb_object_agg(g.ord, '{"status": "SUCCESS"}'::jsonb) INTO v_done FROM item AS g;
    RETURN coalesce(v_done, '{}');
END
$body$;
COMMENT ON FUNCTION user_bridge.create_memberships(jsonb) IS
    'Makes the memberships that have never been delivered before, group by group; returns outcomes by position.';

CREATE OR REPLACE FUNCTION user_bridge.apply_many(p_request jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $body$
DECLARE
    -- Below, preparing for many costs more than it saves.
    c_many CONSTANT integer := 20;
BEGIN
    IF jsonb_array_length(p_request -> 'items') < c_many THEN
        RETURN '{}'::jsonb;
    END IF;
    RETURN user_bridge.create_accounts(p_request) || user_bridge.create_memberships(p_request);
EXCEPTION WHEN OTHERS THEN
    RETURN '{}'::jsonb;  -- One of them cannot be written: item by item it shows which.
END
$body$;
COMMENT ON FUNCTION user_bridge.apply_many(jsonb) IS
    'Does at once what is plainly new among many items; returns outcomes by position, from 1. The others are still to do.';

-- openwebui/40_journal.sql.j2
-- A LiteLLM transaction can still fail between its delivery and its own commit record: its change is then here and
-- nowhere else. Until LiteLLM's side has confirmed the transaction, each entity remembers which one wrote it.

CREATE OR REPLACE FUNCTION user_bridge.unconfirmed(p_limit integer) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $body$
BEGIN
    RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object(
                       'type', e.entity_type, 'id', e.entity_id, 'version', e.version, 'txid', e.source_txid)), '[]')
              FROM (SELECT * FROM user_bridge.entity WHERE source_txid IS NOT NULL
                     ORDER BY applied_at LIMIT p_limit) AS e);
END
$body$;
COMMENT ON FUNCTION user_bridge.unconfirmed(integer) IS 'The journal: the entities written by unconfirmed transactions.';

CREATE OR REPLACE FUNCTION user_bridge.confirm(p_entries jsonb) RETURNS integer
LANGUAGE plpgsql AS $body$
DECLARE
    v_count integer;
BEGIN
    UPDATE user_bridge.entity AS e SET source_txid = NULL
      FROM jsonb_to_recordset(p_entries) AS c(type text, id text, version bigint)
     WHERE e.entity_type = c.type AND e.entity_id = c.id AND e.version = c.version;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$body$;
COMMENT ON FUNCTION user_bridge.confirm(jsonb) IS 'Takes entries of committed transactions out of the journal; returns how many.';

-- openwebui/41_preview.sql.j2
-- What a delivery would change is found out by doing it and taking it back: a second set of rules that only compares
-- would one day say something else than the rules that write.

CREATE OR REPLACE FUNCTION user_bridge.linked_id(p_type text, p_id text) RETURNS text
LANGUAGE plpgsql STABLE AS $body$
BEGIN
    RETURN (SELECT e.openwebui_id FROM user_bridge.entity AS e WHERE e.entity_type = p_type AND e.entity_id = p_id);
END
$body$;
COMMENT ON FUNCTION user_bridge.linked_id(text, text) IS 'The Open WebUI row that stands for an entity.';

CREATE OR REPLACE FUNCTION user_bridge.account_picture(p_account text) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $body$
BEGIN
    RETURN (SELECT jsonb_build_object('exists', true, 'name', u.name, 'email', u.email, 'role', u.role,
                       'active', a.active, 'sign_in_email', a.email,
                       'original_role', user_bridge.json_object(u.info::text) #> '{user_bridge,original_role}')
              FROM public."user" AS u LEFT JOIN public.auth AS a USING (id) WHERE u.id = p_account);
END
$body$;
COMMENT ON FUNCTION user_bridge.account_picture(text) IS 'The fields of an account that LiteLLM decides; NULL without one.';

CREATE OR REPLACE FUNCTION user_bridge.group_picture(p_group text) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $body$
BEGIN
    RETURN (SELECT jsonb_build_object('exists', true, 'name', g.name, 'parent', to_jsonb(g) -> 'parent_group_id')
              FROM public."group" AS g WHERE g.id = p_group);
END
$body$;
COMMENT ON FUNCTION user_bridge.group_picture(text) IS 'The fields of a group that LiteLLM decides; NULL without one.';

CREATE OR REPLACE FUNCTION user_bridge.picture(p_item jsonb, p_openwebui_id text) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $body$
DECLARE
    v_type CONSTANT text := p_item ->> 'type';
    v_key jsonb;
BEGIN
    IF v_type LIKE '%\_member' THEN
        v_key := (p_item ->> 'id')::jsonb;
        RETURN (SELECT jsonb_build_object('exists', true)
                  FROM user_bridge.actual_members(ARRAY[
                           user_bridge.linked_id(regexp_replace(v_type, '_member$', ''), v_key ->> 0)]) AS m
                 WHERE m.user_id = user_bridge.linked_id('user', v_key ->> 1));
    END IF;
    RETURN CASE v_type
        WHEN 'user' THEN user_bridge.account_picture(p_openwebui_id)
        WHEN 'user_key' THEN jsonb_build_object('key', left(user_bridge.secret_mark(
            user_bridge.key_slot(user_bridge.linked_id('user', p_item ->> 'id'))), 16))
        ELSE user_bridge.group_picture(p_openwebui_id)
    END;
END
$body$;
COMMENT ON FUNCTION user_bridge.picture(jsonb, text) IS
    'What Open WebUI holds of an entity now, in the fields that LiteLLM decides; NULL for nothing. Holds no secret.';

CREATE OR REPLACE FUNCTION user_bridge.actual_members(p_groups text[]) RETURNS TABLE (group_id text, user_id text)
LANGUAGE plpgsql STABLE AS $body$
BEGIN
    IF to_regclass('public.group_member') IS NOT NULL THEN
        RETURN QUERY EXECUTE
            'SELECT m.group_id::text, m.user_id::text FROM public.group_member AS m WHERE m.group_id = ANY ($1)'
            USING p_groups;
    ELSE
        RETURN QUERY EXECUTE
            'SELECT g.id::text, unnest(user_bridge.json_strings(g.user_ids)) FROM public."group" AS g WHERE g.id = ANY ($1)'
            USING p_groups;
    END IF;
END
$body$;
COMMENT ON FUNCTION user_bridge.actual_members(text[]) IS 'Who is in these groups. All are Open WebUI''s ids.';

CREATE OR REPLACE FUNCTION user_bridge.preview_item(p_item jsonb, p_request jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $body$
DECLARE
    v_id text := user_bridge.linked_id(p_item ->> 'type', p_item ->> 'id');
    v_outcome jsonb;
    v_after jsonb;
BEGIN
    BEGIN
        v_outcome := user_bridge.apply_item(p_item, p_request, NULL);
        v_id := coalesce(user_bridge.linked_id(p_item ->> 'type', p_item ->> 'id'), v_id);
        v_after := user_bridge.picture(p_item, v_id);
        RAISE EXCEPTION USING ERRCODE = 'UB004', MESSAGE = 'only a preview';
    EXCEPTION WHEN SQLSTATE 'UB004' THEN
        NULL;
    END;
    RETURN v_outcome || jsonb_build_object('before', user_bridge.picture(p_item, v_id), 'after', v_after);
END
$body$;
COMMENT ON FUNCTION user_bridge.preview_item(jsonb, jsonb) IS
    'The outcome that applying an item would have, with the entity''s picture before and after; changes nothing.';

CREATE OR REPLACE FUNCTION user_bridge.preview_items(p_request jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $body$
DECLARE
    v_item jsonb;
    v_previews jsonb[] := '{}'::jsonb[];
BEGIN
    PERFORM user_bridge.hold_tables(clock_timestamp() + interval '100 milliseconds');
    FOR v_item IN SELECT i FROM jsonb_array_elements(p_request -> 'preview') AS i LOOP
        v_previews := v_previews || user_bridge.preview_item(v_item, p_request);
    END LOOP;
    RETURN to_jsonb(v_previews);
END
$body$;
COMMENT ON FUNCTION user_bridge.preview_items(jsonb) IS 'One preview an item, in their order.';

-- openwebui/42_compare.sql.j2
-- Only spares a preview to what is plainly equal: 100,000 of them would take a minute and leave as many dead rows.
-- What these functions do not return may still turn out to be equal. Planned anew on each call, as in 38_many, and where
-- whole tables are compared without apply()'s enable_seqscan = off.

CREATE OR REPLACE FUNCTION user_bridge.original_role(p_info anyelement) RETURNS text
LANGUAGE sql STABLE AS $body$
    -- json_object() costs more than all the rest, and only a text (before 0.6.41) can hold no JSON.
    SELECT CASE WHEN pg_typeof(p_info) = 'json'::regtype THEN p_info::text::jsonb ELSE user_bridge.json_object(p_info::text) END
           #>> '{user_bridge,original_role}'
$body$;
COMMENT ON FUNCTION user_bridge.original_role(anyelement) IS 'LiteLLM''s role, as an account''s info names it.';

CREATE OR REPLACE FUNCTION user_bridge.has_parent(p_group public."group", p_parent text) RETURNS boolean
LANGUAGE plpgsql STABLE AS $body$
BEGIN
    RETURN NOT to_jsonb(p_group) ? 'parent_group_id'
           OR to_jsonb(p_group) ->> 'parent_group_id' IS NOT DISTINCT FROM p_parent;
END
$body$;
COMMENT ON FUNCTION user_bridge.has_parent(public."group", text) IS
    'Whether a group is the child of this one, as far as this Open WebUI knows parents (0.12.0 on).';

CREATE OR REPLACE FUNCTION user_bridge.equal_users(p_items jsonb) RETURNS SETOF bigint
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $body$
BEGIN
    RETURN QUERY
    SELECT i.ord
      FROM jsonb_array_elements(p_items) WITH ORDINALITY AS i(item, ord)
     CROSS JOIN LATERAL jsonb_to_record(i.item -> 'desired') AS d(
           name text, email text, role text, disabled boolean, original_role text)
      JOIN user_bridge.entity AS e ON e.entity_type = 'user' AND e.entity_id = i.item ->> 'id'
      JOIN public."user" AS u ON u.id = e.openwebui_id
      JOIN public.auth AS a ON a.id = e.openwebui_id
     WHERE i.item ->> 'type' = 'user' AND i.item -> 'desired' <> 'null' AND i.item ->> 'mapped' = e.openwebui_id
       AND (u.name, u.email, a.email) = (d.name, d.email, d.email)
       AND (u.role, a.active) = (CASE WHEN d.disabled THEN 'pending' ELSE d.role END, NOT d.disabled)
       AND user_bridge.original_role(u.info) IS NOT DISTINCT FROM d.original_role;
END
$body$;
COMMENT ON FUNCTION user_bridge.equal_users(jsonb) IS 'The items, by position, whose account is what LiteLLM wants.';

CREATE OR REPLACE FUNCTION user_bridge.equal_groups(p_items jsonb) RETURNS SETOF bigint
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $body$
BEGIN
    RETURN QUERY
    SELECT i.ord
      FROM jsonb_array_elements(p_items) WITH ORDINALITY AS i(item, ord)
      JOIN user_bridge.entity AS e ON e.entity_type = i.item ->> 'type' AND e.entity_id = i.item ->> 'id'
      JOIN public."group" AS g ON g.id = e.openwebui_id
      LEFT JOIN user_bridge.entity AS o
             ON o.entity_type = 'organization' AND o.entity_id = i.item #>> '{desired,organization_id}'
     WHERE i.item ->> 'type' IN ('organization', 'team') AND i.item -> 'desired' <> 'null'
       AND i.item ->> 'mapped' = e.openwebui_id
       AND g.name = i.item #>> '{desired,name}'
       AND e.parent_id IS NOT DISTINCT FROM i.item #>> '{desired,organization_id}'
       AND user_bridge.has_parent(g, o.openwebui_id);
END
$body$;
COMMENT ON FUNCTION user_bridge.equal_groups(jsonb) IS 'The items, by position, whose group is what LiteLLM wants.';

CREATE OR REPLACE FUNCTION user_bridge.equal_members(p_items jsonb) RETURNS SETOF bigint
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $body$
BEGIN
    RETURN QUERY
    WITH wanted AS MATERIALIZED (
        SELECT i.ord, g.openwebui_id AS group_id, u.openwebui_id AS user_id
          FROM jsonb_array_elements(p_items) WITH ORDINALITY AS i(item, ord)
         CROSS JOIN LATERAL (SELECT regexp_replace(i.item ->> 'type', '_member$', '') AS type,
                                    (i.item ->> 'id')::jsonb AS key) AS k
          JOIN user_bridge.membership AS m
            ON m.group_type = k.type AND m.group_id = k.key ->> 0 AND m.user_id = k.key ->> 1
          LEFT JOIN user_bridge.entity AS g ON g.entity_type = k.type AND g.entity_id = m.group_id
          LEFT JOIN user_bridge.entity AS u ON u.entity_type = 'user' AND u.entity_id = m.user_id
         WHERE i.item ->> 'type' LIKE '%\_member' AND i.item -> 'desired' <> 'null'
    )
    SELECT w.ord
      FROM wanted AS w
      LEFT JOIN user_bridge.actual_members(array(SELECT DISTINCT x.group_id FROM wanted AS x)) AS a
             ON a.group_id = w.group_id AND a.user_id = w.user_id
     WHERE a.user_id IS NOT NULL OR w.group_id IS NULL OR w.user_id IS NULL;
END
$body$;
COMMENT ON FUNCTION user_bridge.equal_members(jsonb) IS
    'The items, by position, whose membership is there or waits for its group or account.';

CREATE OR REPLACE FUNCTION user_bridge.suspects(p_items jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $body$
BEGIN
    RETURN (SELECT coalesce(jsonb_agg(i.ord), '[]')
              FROM jsonb_array_elements(p_items) WITH ORDINALITY AS i(item, ord)
             WHERE i.ord NOT IN (SELECT user_bridge.equal_users(p_items)
                                  UNION ALL SELECT user_bridge.equal_groups(p_items)
                                  UNION ALL SELECT user_bridge.equal_members(p_items)));
END
$body$;
COMMENT ON FUNCTION user_bridge.suspects(jsonb) IS 'The positions, from 1, of items that a preview has to look at.';

CREATE OR REPLACE FUNCTION user_bridge.digest(p_text text) RETURNS bigint
-- Not IMMUTABLE: convert_to() is not, and PostgreSQL would not inline this.
LANGUAGE sql STABLE AS $body$
    SELECT ('x' || left(encode(sha256(convert_to(p_text, 'UTF8')), 'hex'), 15))::bit(60)::bigint
$body$;
COMMENT ON FUNCTION user_bridge.digest(text) IS
    'A number for a text, the same on both sides, whatever the versions of the servers.';

CREATE OR REPLACE FUNCTION user_bridge.bucket(p_id text) RETURNS integer
LANGUAGE sql STABLE AS $body$
    SELECT get_byte(sha256(convert_to(p_id, 'UTF8')), 0)
$body$;
COMMENT ON FUNCTION user_bridge.bucket(text) IS 'One of 256 buckets for an id, the same on both sides.';

CREATE OR REPLACE FUNCTION user_bridge.account_states(p_after text, p_limit integer)
RETURNS TABLE (entity_id text, openwebui_id text, state jsonb)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $body$
BEGIN
    RETURN QUERY
    SELECT e.entity_id, e.openwebui_id, CASE WHEN a.active AND a.email = u.email THEN jsonb_build_object(
               'name', u.name, 'email', u.email, 'role', u.role, 'disabled', false,
               'original_role', user_bridge.original_role(u.info)) END
      FROM user_bridge.entity AS e
      LEFT JOIN public."user" AS u ON u.id = e.openwebui_id
      LEFT JOIN public.auth AS a ON a.id = e.openwebui_id
     WHERE e.entity_type = 'user' AND e.entity_id > p_after
     ORDER BY e.entity_id LIMIT p_limit;
END
$body$;
COMMENT ON FUNCTION user_bridge.account_states(text, integer) IS
    'The next users, and what LiteLLM must want for their account to stay as it is; NULL where that cannot be told.';

CREATE OR REPLACE FUNCTION user_bridge.group_states(p_type text, p_after text, p_limit integer)
RETURNS TABLE (entity_id text, openwebui_id text, state jsonb)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $body$
BEGIN
    RETURN QUERY
    SELECT e.entity_id, e.openwebui_id, CASE WHEN g.id IS NOT NULL AND user_bridge.has_parent(g, o.openwebui_id) THEN
               jsonb_build_object('name', g.name)
               || CASE p_type WHEN 'team' THEN jsonb_build_object('organization_id', e.parent_id) ELSE '{}' END END
      FROM user_bridge.entity AS e
      LEFT JOIN public."group" AS g ON g.id = e.openwebui_id
      LEFT JOIN user_bridge.entity AS o ON o.entity_type = 'organization' AND o.entity_id = e.parent_id
     WHERE e.entity_type = p_type AND e.entity_id > p_after
     ORDER BY e.entity_id LIMIT p_limit;
END
$body$;
COMMENT ON FUNCTION user_bridge.group_states(text, text, integer) IS 'As account_states(), of organizations or teams.';

CREATE OR REPLACE FUNCTION user_bridge.sums(p_type text, p_after text, p_limit integer) RETURNS jsonb
LANGUAGE plpgsql STABLE SET enable_seqscan = on SET work_mem = '64MB' AS $body$
BEGIN
    RETURN (
        WITH portion AS MATERIALIZED (
            SELECT * FROM user_bridge.account_states(p_after, p_limit) WHERE p_type = 'user'
             UNION ALL
            SELECT * FROM user_bridge.group_states(p_type, p_after, p_limit) WHERE p_type <> 'user'
        ), sum AS (
            SELECT user_bridge.bucket(p.entity_id) AS bucket,
                   sum(user_bridge.digest(ROW(p.entity_id, p.openwebui_id, p.state)::text)) AS digest, NULL AS odd
              FROM portion AS p WHERE p.state IS NOT NULL GROUP BY 1
             UNION ALL
            SELECT NULL, NULL, p.entity_id FROM portion AS p WHERE p.state IS NULL AND p.openwebui_id IS NOT NULL
        )
        SELECT jsonb_build_object(
                   'sums', (SELECT coalesce(jsonb_agg(s), '[]') FROM sum AS s),
                   'next', CASE WHEN count(*) = p_limit THEN max(p.entity_id) END)
          FROM portion AS p);
END
$body$;
COMMENT ON FUNCTION user_bridge.sums(text, text, integer) IS
    'The digests of the next entities, added up by bucket, and those that have none; next is NULL at the end.';

CREATE OR REPLACE FUNCTION user_bridge.in_buckets(p_buckets jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $body$
BEGIN
    RETURN (SELECT coalesce(jsonb_agg(jsonb_build_array(e.entity_type, e.entity_id)), '[]')
              FROM user_bridge.entity AS e
             WHERE e.openwebui_id IS NOT NULL
               AND (e.entity_type, user_bridge.bucket(e.entity_id)) IN (
                       SELECT b ->> 0, (b ->> 1)::integer FROM jsonb_array_elements(p_buckets) AS b));
END
$body$;
COMMENT ON FUNCTION user_bridge.in_buckets(jsonb) IS 'The entities of these buckets that something here stands for.';

CREATE OR REPLACE FUNCTION user_bridge.rosters(p_after jsonb, p_limit integer) RETURNS jsonb
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan SET enable_seqscan = on SET work_mem = '64MB' AS $body$
BEGIN
    RETURN (
        WITH wanted AS MATERIALIZED (
            SELECT m.group_type, m.group_id, m.user_id FROM user_bridge.membership AS m
             WHERE (m.group_type, m.group_id, m.user_id)
                   > (coalesce(p_after ->> 0, ''), coalesce(p_after ->> 1, ''), coalesce(p_after ->> 2, ''))
             ORDER BY m.group_type, m.group_id, m.user_id LIMIT p_limit
        ), target AS MATERIALIZED (
            SELECT k.group_type, k.group_id, e.openwebui_id AS id
              FROM (SELECT DISTINCT w.group_type, w.group_id FROM wanted AS w) AS k
              LEFT JOIN user_bridge.entity AS e ON e.entity_type = k.group_type AND e.entity_id = k.group_id
        ), roster AS (
            SELECT w.group_type, w.group_id, sum(user_bridge.digest(w.user_id)) AS digest,
                   -- IN and no join: its table of hashes needs no idea of how many members there are.
                   bool_and(t.id IS NULL OR u.openwebui_id IS NULL OR (t.id, u.openwebui_id) IN (
                       SELECT a.group_id, a.user_id
                         FROM user_bridge.actual_members(array(SELECT x.id FROM target AS x)) AS a)) AS complete
              FROM wanted AS w
              JOIN target AS t USING (group_type, group_id)
              LEFT JOIN user_bridge.entity AS u ON u.entity_type = 'user' AND u.entity_id = w.user_id
             GROUP BY w.group_type, w.group_id
        )
        SELECT jsonb_build_object(
                   'rosters', (SELECT coalesce(jsonb_agg(r), '[]') FROM roster AS r),
                   -- The last one, in the order in which they were put there.
                   'next', (SELECT jsonb_build_array(w.group_type, w.group_id, w.user_id)
                              FROM (SELECT * FROM wanted OFFSET p_limit - 1) AS w)));
END
$body$;
COMMENT ON FUNCTION user_bridge.rosters(jsonb, integer) IS
    'The next wanted memberships in a digest for each group, and whether all of them that can be are there: 200,000 of '
    'them are compared in less time than it takes to send their names. next is NULL at the end.';

-- openwebui/80_remove_data.sql.j2
CREATE OR REPLACE FUNCTION user_bridge.remove_data() RETURNS TABLE (kind text, removed bigint, kept bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    v_link user_bridge.entity;
BEGIN
    FOR v_link IN SELECT * FROM user_bridge.entity AS e WHERE e.mirrored_mark IS NOT NULL ORDER BY e.entity_id LOOP
        PERFORM user_bridge.apply_user_key('{"desired": null}', v_link);
    END LOOP;
    kind := 'accounts';
    removed := 0;
    kept := 0;
    FOR v_link IN
        SELECT * FROM user_bridge.entity AS e WHERE e.entity_type = 'user' AND e.openwebui_id IS NOT NULL ORDER BY e.entity_id
    LOOP
        PERFORM user_bridge.withdraw_memberships(v_link.entity_id, v_link.openwebui_id);
        IF v_link.origin = 'created' AND NOT user_bridge.is_last_admin(v_link.openwebui_id) THEN
            PERFORM user_bridge.delete_account(v_link.openwebui_id);
            PERFORM user_bridge.link(v_link, NULL, NULL);
            removed := removed + 1;
        ELSE
            kept := kept + 1;
        END IF;
    END LOOP;
    RETURN NEXT;
    kind := 'groups';
    removed := 0;
    kept := 0;
    FOR v_link IN
        SELECT * FROM user_bridge.entity AS e
         WHERE e.entity_type IN ('organization', 'team') AND e.openwebui_id IS NOT NULL ORDER BY e.entity_type DESC, e.entity_id
    LOOP
        IF v_link.origin = 'created' THEN
            PERFORM user_bridge.remove_group(v_link.openwebui_id);
            PERFORM user_bridge.link(v_link, NULL, NULL);
            removed := removed + 1;
        ELSE
            kept := kept + 1;
        END IF;
    END LOOP;
    RETURN NEXT;
END
$body$;
COMMENT ON FUNCTION user_bridge.remove_data() IS
    'Deletes what the bridge made in Open WebUI, for a bridge that is about to be removed: accounts but for adopted ones '
    'and the last admin, groups, memberships and mirrored keys.';

-- openwebui/90_apply.sql.j2
CREATE OR REPLACE FUNCTION user_bridge.link(p_link user_bridge.entity, p_openwebui_id text, p_origin text)
RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    UPDATE user_bridge.entity AS e SET openwebui_id = p_openwebui_id, origin = p_origin
     WHERE e.entity_type = p_link.entity_type AND e.entity_id = p_link.entity_id
       AND (e.openwebui_id, e.origin) IS DISTINCT FROM (p_openwebui_id, p_origin);
END
$body$;
COMMENT ON FUNCTION user_bridge.link(user_bridge.entity, text, text) IS
    'Remembers which Open WebUI row stands for an entity, and whether the bridge made it.';

CREATE OR REPLACE FUNCTION user_bridge.claim(
    p_type text, p_id text, p_version bigint, p_txid text, p_account text)
RETURNS user_bridge.entity
LANGUAGE plpgsql AS $body$
DECLARE
    v_claimed record;
    v_link user_bridge.entity;
BEGIN
    -- A new user's row is written as it will most likely be, so that link() has nothing to write a second time. Not where
    -- the account is there already: it would look as if it were somebody's.
    INSERT INTO user_bridge.entity AS e (entity_type, entity_id, version, source_txid, openwebui_id, origin)
    SELECT p_type, p_id, p_version, p_txid, own.account, CASE WHEN own.account IS NOT NULL THEN 'created' END
      FROM (SELECT CASE WHEN NOT EXISTS (SELECT FROM user_bridge.entity AS o
                                          WHERE o.entity_type = 'user' AND o.openwebui_id = p_account)
                         AND NOT EXISTS (SELECT FROM public."user" AS u WHERE u.id = p_account)
                        THEN p_account END) AS own(account)
    ON CONFLICT (entity_type, entity_id) DO UPDATE
       SET version = excluded.version, source_txid = excluded.source_txid, applied_at = excluded.applied_at
     WHERE e.version < excluded.version
    RETURNING e AS link, e.xmax = 0 AS is_new INTO v_claimed;
    IF FOUND THEN
        v_link := v_claimed.link;
        IF v_claimed.is_new THEN
            v_link.openwebui_id := NULL;
            v_link.origin := NULL;
        END IF;
    END IF;
    RETURN v_link;
END
$body$;
COMMENT ON FUNCTION user_bridge.claim(text, text, bigint, text, text) IS
    'The fence: takes the entity for this version; NULL when it already has a newer one (a delivery that was given up '
    'at its deadline can still run later). p_account: which account a new user''s is going to be, if known.';

CREATE OR REPLACE FUNCTION user_bridge.apply_item(p_item jsonb, p_request jsonb, p_held jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $body$
DECLARE
    v_link user_bridge.entity;
    v_state text;
    v_message text;
BEGIN
    v_link := user_bridge.claim(p_item ->> 'type', p_item ->> 'id',
                                (p_request ->> 'version')::bigint, p_request ->> 'txid',
                                CASE p_item ->> 'type' WHEN 'user' THEN p_item #>> '{desired,openwebui_id}' END);
    IF v_link.entity_id IS NULL THEN
        RETURN (SELECT jsonb_build_object('status', 'FAILED', 'message', 'older than what Open WebUI has',
                                          'fence', e.version)
                  FROM user_bridge.entity AS e
                 WHERE e.entity_type = p_item ->> 'type' AND e.entity_id = p_item ->> 'id');
    END IF;
    IF p_held IS NOT NULL AND user_bridge.accounts_losing(p_item) <> '{}' THEN
        RETURN p_held || CASE p_held ->> 'status'
            WHEN 'PARKED' THEN jsonb_build_object('openwebui_id', v_link.openwebui_id) ELSE '{}' END;
    END IF;
    RETURN CASE v_link.entity_type
        WHEN 'user' THEN user_bridge.apply_user(p_item, v_link, p_request -> 'options')
        WHEN 'organization' THEN user_bridge.apply_group(p_item, v_link)
        WHEN 'team' THEN user_bridge.apply_group(p_item, v_link)
        WHEN 'organization_member' THEN user_bridge.apply_member(p_item)
        WHEN 'team_member' THEN user_bridge.apply_member(p_item)
        WHEN 'user_key' THEN user_bridge.apply_user_key(p_item, v_link)
        ELSE jsonb_build_object('status', 'FAILED', 'message', 'Open WebUI''s side of the bridge is older: deploy it')
    END;
EXCEPTION WHEN OTHERS THEN
    -- One entity that cannot be written must not hold up the others.
    GET STACKED DIAGNOSTICS v_state = RETURNED_SQLSTATE, v_message = MESSAGE_TEXT;
    RETURN jsonb_build_object('status', 'FAILED', 'sqlstate', v_state, 'message', v_message);
END
$body$;
COMMENT ON FUNCTION user_bridge.apply_item(jsonb, jsonb, jsonb) IS
    'Applies one item, or holds it back if it is a removal; an error is its outcome, not the call''s.';

CREATE OR REPLACE FUNCTION user_bridge.hold_tables(p_until timestamptz) RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    -- Open WebUI migrates in one transaction: waiting for its second table with a lock on its first would be a
    -- deadlock, and the migration could be the one that dies. So: all locks at once, or none and once more.
    LOOP
        BEGIN
            LOCK TABLE ONLY public."user", ONLY public.auth, ONLY public."group" IN ROW EXCLUSIVE MODE NOWAIT;
            IF to_regclass('public.group_member') IS NOT NULL THEN
                LOCK TABLE ONLY public.group_member IN ROW EXCLUSIVE MODE NOWAIT;
            END IF;
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            IF clock_timestamp() >= p_until THEN
                RAISE;
            END IF;
        END;
        PERFORM pg_sleep(0.01);
    END LOOP;
END
$body$;
COMMENT ON FUNCTION user_bridge.hold_tables(timestamptz) IS
    'Takes the locks that writing to Open WebUI''s tables needs, or raises lock_not_available when the time is over.';

CREATE OR REPLACE FUNCTION user_bridge.answer(p_request jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $body$
BEGIN
    RETURN CASE
        WHEN p_request ? 'unconfirmed' THEN
            jsonb_build_object('unconfirmed', user_bridge.unconfirmed((p_request ->> 'unconfirmed')::integer),
                               'schema_mark', user_bridge.schema_mark())
        WHEN p_request ? 'confirm' THEN
            jsonb_build_object('confirmed', user_bridge.confirm(p_request -> 'confirm'))
        WHEN p_request ? 'expire_initial_passwords' THEN
            jsonb_build_object('expired',
                user_bridge.expire_initial_passwords((p_request ->> 'expire_initial_passwords')::integer))
        WHEN p_request ? 'count' THEN
            jsonb_build_object('accounts', user_bridge.count_accounts())
        WHEN p_request ? 'members_of' THEN
            jsonb_build_object('members', user_bridge.memberships_of(p_request -> 'members_of'))
        WHEN p_request ? 'suspects' THEN
            jsonb_build_object('suspects', user_bridge.suspects(p_request -> 'suspects'))
        WHEN p_request ? 'preview' THEN
            jsonb_build_object('preview', user_bridge.preview_items(p_request))
        WHEN p_request ? 'sums_of' THEN
            user_bridge.sums(p_request ->> 'sums_of', p_request ->> 'after', (p_request ->> 'limit')::integer)
        WHEN p_request ? 'in_buckets' THEN
            jsonb_build_object('entities', user_bridge.in_buckets(p_request -> 'in_buckets'))
        WHEN p_request ? 'rosters_after' THEN
            user_bridge.rosters(p_request -> 'rosters_after', (p_request ->> 'limit')::integer)
        ELSE '{}'
    END;
END
$body$;
COMMENT ON FUNCTION user_bridge.answer(jsonb) IS 'What LiteLLM''s side can ask beside delivering items.';

CREATE OR REPLACE FUNCTION user_bridge.count_accounts() RETURNS bigint
LANGUAGE plpgsql STABLE AS $body$
BEGIN
    RETURN (SELECT count(*) FROM user_bridge.entity AS e JOIN public."user" AS u ON u.id = e.openwebui_id
             WHERE e.entity_type = 'user');
END
$body$;
COMMENT ON FUNCTION user_bridge.count_accounts() IS 'Accounts that stand for a LiteLLM user.';

CREATE OR REPLACE FUNCTION user_bridge.apply(p_request jsonb) RETURNS jsonb
-- Planning anew on each call would cost more than all the work there is.
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
-- Plans are kept: one made while a table is small would search all of it when a migration has filled it.
SET enable_seqscan = off SET jit = off
AS $body$
DECLARE
    v_stop CONSTANT timestamptz := clock_timestamp() + (p_request ->> 'budget_ms')::integer * interval '1 millisecond';
    v_many jsonb;
    v_item jsonb;
    v_ord text;
    v_outcome jsonb;
    v_outcomes jsonb[] := '{}'::jsonb[];
    v_fence bigint;
    v_held jsonb;
BEGIN
    IF NOT p_request ? 'items' THEN
        RETURN user_bridge.answer(p_request);
    END IF;
    PERFORM user_bridge.hold_tables(v_stop);
    v_held := user_bridge.hold_back(p_request);
    v_many := user_bridge.apply_many(p_request);
    FOR v_item, v_ord IN SELECT i.item, i.ord FROM jsonb_array_elements(p_request -> 'items') WITH ORDINALITY AS i(item, ord) LOOP
        v_outcome := CASE WHEN v_many ? v_ord THEN v_many -> v_ord
                          WHEN clock_timestamp() < v_stop THEN user_bridge.apply_item(v_item, p_request, v_held)
                          ELSE '{"status": "DEFERRED"}'::jsonb END;
        v_outcomes := v_outcomes || v_outcome;
        v_fence := greatest(v_fence, (v_outcome ->> 'fence')::bigint);
    END LOOP;
    RETURN jsonb_build_object('items', to_jsonb(v_outcomes), 'fence', v_fence);
END
$body$;
COMMENT ON FUNCTION user_bridge.apply(jsonb) IS
    'The one door into Open WebUI''s database: makes the named entities what LiteLLM says, and answers with an outcome '
    'for each. Only the sync user may call it.';

REVOKE ALL ON FUNCTION user_bridge.apply(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION user_bridge.apply(jsonb) TO "sync_user";
