-- What github.com/pkusnail/open-webui-litellm-user-bridge (sql/litellm-webui-sync.sql 1.0.0, sql/api-key-sync.sql 1.1.0,
-- sql/migrate-existing-users.sql 1.0.0) puts into LiteLLM's database: the same objects under the same names, with the
-- same columns, the same rows written into Open WebUI, the same faults, and a connection string in each body.
-- Written anew for the tests, with a password cost of 4 instead of 12; :connection is replaced by that string.

CREATE TABLE sync_audit (
    id serial PRIMARY KEY,
    operation varchar(20) NOT NULL,
    record_id text NOT NULL,
    sync_result varchar(20) NOT NULL,
    old_data jsonb,
    new_data jsonb,
    error_message text,
    created_at timestamp DEFAULT current_timestamp
);

CREATE TABLE sync_mapping (
    id serial PRIMARY KEY,
    litellm_type varchar(20) NOT NULL,
    litellm_id text NOT NULL,
    openwebui_type varchar(20) NOT NULL,
    openwebui_id text NOT NULL,
    sync_data jsonb DEFAULT '{}',
    created_at timestamp DEFAULT current_timestamp,
    updated_at timestamp DEFAULT current_timestamp,
    UNIQUE (litellm_type, litellm_id)
);

CREATE FUNCTION sync_organization_to_group() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    target_conn_str text := ':connection';
BEGIN
    PERFORM dblink_exec(target_conn_str, format(
        'INSERT INTO "group" (id, name, description, meta, created_at, updated_at)
         VALUES (%L, %L, %L, %L::jsonb, %L, %L)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, description = excluded.description,
             meta = excluded.meta, updated_at = excluded.updated_at',
        'grp_' || NEW.organization_id, NEW.organization_alias, NEW.organization_alias || ' organization',
        json_build_object('organization_id', NEW.organization_id, 'budget_id', NEW.budget_id, 'models', NEW.models,
            'spend', NEW.spend, 'model_spend', NEW.model_spend, 'metadata', NEW.metadata)::text,
        extract(epoch FROM NEW.created_at)::bigint, extract(epoch FROM NEW.updated_at)::bigint));
    INSERT INTO sync_mapping (litellm_type, litellm_id, openwebui_type, openwebui_id, sync_data)
    VALUES ('organization', NEW.organization_id, 'group', 'grp_' || NEW.organization_id,
            json_build_object('organization_alias', NEW.organization_alias))
    ON CONFLICT (litellm_type, litellm_id) DO UPDATE SET sync_data = excluded.sync_data, updated_at = current_timestamp;
    INSERT INTO sync_audit (operation, record_id, sync_result, new_data)
    VALUES ('SYNC_ORG', NEW.organization_id, 'SUCCESS', to_jsonb(NEW));
    RETURN NEW;
EXCEPTION WHEN OTHERS THEN
    INSERT INTO sync_audit (operation, record_id, sync_result, error_message, new_data)
    VALUES ('SYNC_ORG', NEW.organization_id, 'FAILED', SQLERRM, to_jsonb(NEW));
    RETURN NEW;
END
$$;

CREATE FUNCTION sync_user_to_openwebui() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    target_conn_str text := ':connection';
    display_name text := coalesce(
        (SELECT team_alias FROM "LiteLLM_TeamTable" WHERE team_id = NEW.team_id) || '-' || NEW.user_alias,
        NEW.user_alias, 'User');
BEGIN
    PERFORM dblink_exec(target_conn_str, format(
        'INSERT INTO "user" (id, email, name, role, oauth_sub, settings, info, profile_image_url, last_active_at,
                             created_at, updated_at)
         VALUES (%L, %L, %L, %L, %L, %L, %L, %L, %L, %L, %L)
         ON CONFLICT (id) DO UPDATE SET email = excluded.email, name = excluded.name, role = excluded.role,
             oauth_sub = excluded.oauth_sub, settings = excluded.settings, info = excluded.info,
             updated_at = excluded.updated_at',
        'usr_' || NEW.user_id, NEW.user_email, display_name,
        CASE WHEN NEW.user_role IN ('proxy_admin', 'proxy_admin_viewer') THEN 'admin' ELSE 'user' END, NEW.sso_user_id,
        json_build_object('max_budget', NEW.max_budget, 'spend', NEW.spend, 'models', NEW.models,
            'metadata', NEW.metadata, 'model_spend', NEW.model_spend, 'model_max_budget', NEW.model_max_budget)::text,
        json_build_object('organization_id', NEW.organization_id, 'team_id', NEW.team_id,
            'original_user_id', NEW.user_id, 'user_role', NEW.user_role)::text,
        '/static/profile-user.png', extract(epoch FROM current_timestamp)::bigint,
        extract(epoch FROM NEW.created_at)::bigint, extract(epoch FROM NEW.updated_at)::bigint));
    IF NEW.user_email <> '' THEN
        BEGIN
            PERFORM dblink_exec(target_conn_str, 'CREATE EXTENSION IF NOT EXISTS pgcrypto');
            PERFORM dblink_exec(target_conn_str, format(
                'INSERT INTO auth (id, email, password, active) VALUES (%L, %L, crypt(%L, gen_salt(''bf'', 4)), true)
                 ON CONFLICT (id) DO UPDATE SET email = excluded.email, active = excluded.active',
                'usr_' || NEW.user_id, NEW.user_email, NEW.user_email));
        EXCEPTION WHEN OTHERS THEN
            INSERT INTO sync_audit (operation, record_id, sync_result, error_message)
            VALUES ('AUTH_CREATE', NEW.user_id, 'WARNING', 'Auth record creation failed: ' || SQLERRM);
        END;
    END IF;
    INSERT INTO sync_mapping (litellm_type, litellm_id, openwebui_type, openwebui_id, sync_data)
    VALUES ('user', NEW.user_id, 'user', 'usr_' || NEW.user_id,
            json_build_object('display_name', display_name, 'original_role', NEW.user_role))
    ON CONFLICT (litellm_type, litellm_id) DO UPDATE SET sync_data = excluded.sync_data, updated_at = current_timestamp;
    INSERT INTO sync_audit (operation, record_id, sync_result, new_data)
    VALUES ('SYNC_USER', NEW.user_id, 'SUCCESS', to_jsonb(NEW));
    RETURN NEW;
EXCEPTION WHEN OTHERS THEN
    INSERT INTO sync_audit (operation, record_id, sync_result, error_message, new_data)
    VALUES ('SYNC_USER', NEW.user_id, 'FAILED', SQLERRM, to_jsonb(NEW));
    RETURN NEW;
END
$$;

CREATE FUNCTION handle_organization_deletion() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    target_conn_str text := ':connection';
BEGIN
    PERFORM dblink_exec(target_conn_str, format('DELETE FROM "group" WHERE id = %L', 'grp_' || OLD.organization_id));
    DELETE FROM sync_mapping WHERE litellm_type = 'organization' AND litellm_id = OLD.organization_id;
    INSERT INTO sync_audit (operation, record_id, sync_result, old_data)
    VALUES ('DELETE_ORG', OLD.organization_id, 'SUCCESS', to_jsonb(OLD));
    RETURN OLD;
EXCEPTION WHEN OTHERS THEN
    INSERT INTO sync_audit (operation, record_id, sync_result, error_message, old_data)
    VALUES ('DELETE_ORG', OLD.organization_id, 'FAILED', SQLERRM, to_jsonb(OLD));
    RETURN OLD;
END
$$;

CREATE FUNCTION handle_user_deletion() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    target_conn_str text := ':connection';
BEGIN
    PERFORM dblink_exec(target_conn_str, format('DELETE FROM "user" WHERE id = %L', 'usr_' || OLD.user_id));
    DELETE FROM sync_mapping WHERE litellm_type = 'user' AND litellm_id = OLD.user_id;
    INSERT INTO sync_audit (operation, record_id, sync_result, old_data)
    VALUES ('DELETE_USER', OLD.user_id, 'SUCCESS', to_jsonb(OLD));
    RETURN OLD;
EXCEPTION WHEN OTHERS THEN
    INSERT INTO sync_audit (operation, record_id, sync_result, error_message, old_data)
    VALUES ('DELETE_USER', OLD.user_id, 'FAILED', SQLERRM, to_jsonb(OLD));
    RETURN OLD;
END
$$;

CREATE FUNCTION sync_api_key_to_webui() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    target_conn_str text := ':connection';
BEGIN
    PERFORM dblink_exec(target_conn_str, format('UPDATE "user" SET api_key = %L WHERE id = %L', NEW.token,
        'usr_' || NEW.user_id));
    INSERT INTO sync_audit (operation, record_id, sync_result, new_data)
    VALUES ('SYNC_API_KEY', NEW.user_id, 'SUCCESS', json_build_object('user_id', NEW.user_id, 'token', NEW.token,
        'models', NEW.models, 'key_alias', NEW.key_alias, 'created_at', NEW.created_at));
    INSERT INTO sync_mapping (litellm_type, litellm_id, openwebui_type, openwebui_id, sync_data)
    VALUES ('api_key', NEW.token, 'user_api_key', 'usr_' || NEW.user_id,
            json_build_object('models', NEW.models, 'key_alias', NEW.key_alias))
    ON CONFLICT (litellm_type, litellm_id) DO UPDATE SET openwebui_id = excluded.openwebui_id,
        sync_data = excluded.sync_data, updated_at = current_timestamp;
    RETURN NEW;
EXCEPTION WHEN OTHERS THEN
    INSERT INTO sync_audit (operation, record_id, sync_result, error_message, new_data)
    VALUES ('SYNC_API_KEY', NEW.user_id, 'FAILED', SQLERRM, json_build_object('user_id', NEW.user_id,
        'token', NEW.token, 'models', NEW.models, 'key_alias', NEW.key_alias, 'error_detail', SQLERRM));
    RETURN NEW;
END
$$;

CREATE FUNCTION sync_api_key_delete_to_webui() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    target_conn_str text := ':connection';
BEGIN
    PERFORM dblink_exec(target_conn_str, format('UPDATE "user" SET api_key = NULL WHERE id = %L AND api_key = %L',
        'usr_' || OLD.user_id, OLD.token));
    INSERT INTO sync_audit (operation, record_id, sync_result, old_data)
    VALUES ('DELETE_API_KEY', OLD.user_id, 'SUCCESS', json_build_object('user_id', OLD.user_id, 'token', OLD.token,
        'key_alias', OLD.key_alias));
    DELETE FROM sync_mapping WHERE litellm_type = 'api_key' AND litellm_id = OLD.token;
    RETURN OLD;
EXCEPTION WHEN OTHERS THEN
    INSERT INTO sync_audit (operation, record_id, sync_result, error_message, old_data)
    VALUES ('DELETE_API_KEY', OLD.user_id, 'FAILED', SQLERRM, json_build_object('user_id', OLD.user_id,
        'token', OLD.token, 'error_detail', SQLERRM));
    RETURN OLD;
END
$$;

CREATE TRIGGER organization_sync_trigger AFTER INSERT OR UPDATE ON "LiteLLM_OrganizationTable"
    FOR EACH ROW EXECUTE FUNCTION sync_organization_to_group();
CREATE TRIGGER organization_delete_trigger BEFORE DELETE ON "LiteLLM_OrganizationTable"
    FOR EACH ROW EXECUTE FUNCTION handle_organization_deletion();
CREATE TRIGGER user_sync_trigger AFTER INSERT OR UPDATE ON "LiteLLM_UserTable"
    FOR EACH ROW EXECUTE FUNCTION sync_user_to_openwebui();
CREATE TRIGGER user_delete_trigger BEFORE DELETE ON "LiteLLM_UserTable"
    FOR EACH ROW EXECUTE FUNCTION handle_user_deletion();
CREATE TRIGGER trigger_sync_api_key_to_webui AFTER INSERT OR UPDATE ON "LiteLLM_VerificationToken"
    FOR EACH ROW WHEN (NEW.user_id IS NOT NULL AND NEW.user_id != '') EXECUTE FUNCTION sync_api_key_to_webui();
CREATE TRIGGER trigger_sync_api_key_delete_to_webui AFTER DELETE ON "LiteLLM_VerificationToken"
    FOR EACH ROW WHEN (OLD.user_id IS NOT NULL AND OLD.user_id != '') EXECUTE FUNCTION sync_api_key_delete_to_webui();

CREATE FUNCTION check_sync_status() RETURNS TABLE (metric text, value text) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT 'LiteLLM Organizations', count(*)::text FROM "LiteLLM_OrganizationTable";
    RETURN QUERY SELECT 'Sync Mappings', count(*)::text FROM sync_mapping;
    RETURN QUERY SELECT 'Total Audit Records', count(*)::text FROM sync_audit;
END
$$;

CREATE FUNCTION get_recent_sync_activities(limit_count integer DEFAULT 10)
RETURNS TABLE (operation text, record_id text, result text, created_at timestamp) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT sa.operation, sa.record_id, sa.sync_result, sa.created_at
                   FROM sync_audit sa ORDER BY sa.created_at DESC LIMIT limit_count;
END
$$;

CREATE FUNCTION check_api_key_sync_status()
RETURNS TABLE (user_id text, user_email text, litellm_api_keys bigint, webui_has_api_key boolean,
               last_sync_status text, last_sync_time timestamp) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
    SELECT u.user_id, u.user_email, count(vt.token),
           (SELECT wu.api_key IS NOT NULL
              FROM dblink(':connection', 'SELECT api_key FROM "user" WHERE id = ''usr_' || u.user_id || '''')
                   AS wu(api_key text)),
           (SELECT sa.sync_result FROM sync_audit sa WHERE sa.record_id = u.user_id LIMIT 1)::text,
           (SELECT sa.created_at FROM sync_audit sa WHERE sa.record_id = u.user_id LIMIT 1)
      FROM "LiteLLM_UserTable" u LEFT JOIN "LiteLLM_VerificationToken" vt ON u.user_id = vt.user_id
     GROUP BY u.user_id, u.user_email;
END
$$;

CREATE FUNCTION get_api_key_sync_audit_log(limit_rows integer DEFAULT 10)
RETURNS TABLE (id integer, operation varchar(20), record_id text, sync_result varchar(20), error_message text,
               sync_data jsonb, created_at timestamp) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
    SELECT sa.id, sa.operation, sa.record_id, sa.sync_result, sa.error_message, coalesce(sa.new_data, sa.old_data),
           sa.created_at
      FROM sync_audit sa WHERE sa.operation IN ('SYNC_API_KEY', 'DELETE_API_KEY') LIMIT limit_rows;
END
$$;

CREATE FUNCTION test_api_key_sync_installation() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN CASE WHEN EXISTS (SELECT FROM pg_trigger WHERE tgname = 'trigger_sync_api_key_to_webui')
                THEN 'EXISTS' ELSE 'MISSING' END;
END
$$;

CREATE FUNCTION migrate_existing_users_to_openwebui()
RETURNS TABLE (user_id text, user_email text, sync_status text, error_message text) LANGUAGE plpgsql AS $$
DECLARE
    target_conn_str text := ':connection';
BEGIN
    PERFORM dblink_exec(target_conn_str, 'CREATE EXTENSION IF NOT EXISTS pgcrypto');
    INSERT INTO sync_audit (operation, record_id, sync_result, new_data)
    SELECT 'MIGRATE_USER', m.litellm_id, 'SUCCESS', json_build_object('mapped_id', m.openwebui_id)
      FROM sync_mapping AS m WHERE m.litellm_type = 'user';
END
$$;

CREATE FUNCTION check_migration_status() RETURNS TABLE (metric text, count bigint) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT 'Already Synced Users', count(*) FROM sync_mapping WHERE litellm_type = 'user';
    RETURN QUERY SELECT 'Open WebUI Users (usr_ prefix)', (SELECT count(*)
        FROM dblink(':connection', 'SELECT id FROM "user" WHERE id LIKE ''usr_%''') AS t(id text));
    RETURN QUERY SELECT 'Migration Operations', count(*) FROM sync_audit WHERE operation LIKE 'MIGRATE_%';
END
$$;

CREATE FUNCTION get_migration_audit_log(limit_count integer DEFAULT 20)
RETURNS TABLE (operation varchar, record_id varchar, sync_result varchar, error_message text, created_at timestamp)
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT sa.operation, sa.record_id::varchar, sa.sync_result, sa.error_message, sa.created_at
                   FROM sync_audit sa WHERE sa.operation LIKE 'MIGRATE_%' LIMIT limit_count;
END
$$;

INSERT INTO sync_audit (operation, record_id, sync_result, new_data)
VALUES ('INSTALL', 'litellm-webui-bridge', 'SUCCESS',
        json_build_object('version', '1.0.0', 'installed_at', current_timestamp));
