-- The settings that the role looks after: what the server runs with, and what it would run with but for our own file.
SELECT setting.name, setting.setting, setting.pending_restart,
       coalesce(other.setting, setting.boot_val) AS other,
       coalesce(other.sourcefile LIKE '%%/postgresql.auto.conf', false) AS other_is_auto
FROM pg_settings AS setting
LEFT JOIN LATERAL (
    SELECT file.setting, file.sourcefile FROM pg_file_settings AS file
    WHERE file.name = setting.name AND file.sourcefile <> %(ours)s ORDER BY file.seqno DESC LIMIT 1
) AS other ON true
WHERE setting.name = ANY (string_to_array(%(wanted)s, ','))
ORDER BY setting.name
