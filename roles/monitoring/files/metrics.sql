-- The metrics of the bridge as a text file for Prometheus. psql sets bridge: the name of this one on its host.
WITH m AS (
    SELECT m.name, m.type, m.help, m.value,
           -- The parts of a histogram are one family.
           CASE m.type WHEN 'histogram' THEN regexp_replace(m.name, '_(bucket|sum|count)$', '') ELSE m.name END AS family,
           (SELECT string_agg(l.key || '="' || replace(replace(replace(l.value, '\', '\\'), '"', '\"'), E'\n', '\n') || '"', ','
                              ORDER BY l.key)
              FROM jsonb_each_text(m.labels || jsonb_build_object('bridge', :'bridge'::text)) AS l) AS labels
      FROM user_bridge.metrics AS m
), lines AS (
    SELECT DISTINCT family, 0 AS place, '' AS name, '' AS labels, 0::double precision AS value,
           '# HELP ' || family || ' ' || help || E'\n# TYPE ' || family || ' ' || type AS line
      FROM m
     UNION ALL
    SELECT family, 1, name, labels, CASE WHEN name LIKE '%\_bucket' THEN value ELSE 0 END, name || '{' || labels || '} ' || value
      FROM m
)
SELECT line FROM lines ORDER BY family, place, name, value, labels;
