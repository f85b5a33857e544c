-- A row per process that was measured: its last perf.recorded event. What could not be measured is NULL.
CREATE VIEW performance AS
SELECT r.name AS request,
       j.name AS project,
       p.id AS process_id,
       p.node,
       p.state,
       CAST(e.body ->> 'wall_s' AS DOUBLE PRECISION) AS wall_s,
       CAST(e.body ->> 'cpu_s' AS DOUBLE PRECISION) AS cpu_s,
       CAST(e.body ->> 'cpu_s' AS DOUBLE PRECISION)
         / NULLIF(CAST(e.body ->> 'wall_s' AS DOUBLE PRECISION), 0) AS cpu_efficiency,
       CAST(e.body ->> 'peak_rss_mb' AS DOUBLE PRECISION) AS peak_rss_mb,
       CAST(e.body ->> 'read_bytes' AS BIGINT) AS read_bytes,
       CAST(e.body ->> 'written_bytes' AS BIGINT) AS written_bytes,
       CAST(e.body ->> 'input_bytes' AS BIGINT) AS input_bytes,
       CAST(e.body ->> 'throughput_mbs' AS DOUBLE PRECISION) AS throughput_mbs,
       CAST(e.body ->> 'entries' AS BIGINT) AS entries,
       CAST(e.body ->> 'entries_per_s' AS DOUBLE PRECISION) AS entries_per_s,
       CAST(e.body ->> 'exit_code' AS INTEGER) AS exit_code,
       e.at
  FROM requests r
  JOIN processes p ON p.request_id = r.id
  JOIN projects j ON j.id = p.project_id
  JOIN events e ON e.id = (SELECT MAX(n.id) FROM events n
                            WHERE n.process_id = p.id AND n.kind = 'perf.recorded')
