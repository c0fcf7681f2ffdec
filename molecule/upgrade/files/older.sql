-- A function that is no more, one that is not yet, and one that did something else.
CREATE FUNCTION user_bridge.of_version_0_9() RETURNS integer LANGUAGE sql AS 'SELECT 9';
ALTER FUNCTION user_bridge.of_version_0_9() OWNER TO user_bridge_owner;
-- bridge_install drops what it finds in its own books and no longer in the templates, and nobody else's objects.
INSERT INTO user_bridge.installed_object (kind, name, definition, fingerprint, server_major, version)
VALUES ('function', 'user_bridge.of_version_0_9()', '', '', split_part(current_setting('server_version'), '.', 1), '0.9.0');
DROP FUNCTION user_bridge.check_sync_status() CASCADE;
CREATE OR REPLACE FUNCTION user_bridge.version() RETURNS text LANGUAGE sql AS $$SELECT 'older'::text$$;
DROP TRIGGER IF EXISTS user_bridge_enqueue ON "LiteLLM_OrganizationTable";

-- Work that waits: this version only queues.
SET SESSION AUTHORIZATION litellm;
INSERT INTO "LiteLLM_UserTable" (user_id, user_email) VALUES ('waiting', 'waiting@example.com');
