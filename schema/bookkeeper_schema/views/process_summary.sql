-- A row per process. wall_time_s of a live process is NULL; peak_rss_mb comes from its last perf.recorded event.
CREATE VIEW process_summary AS
SELECT p.id AS process_id,
       j.name AS project,
       p.state,
       p.node,
       p.executor,
       p.job_id,
       p.partition_number,
       p.delivered,
       (SELECT COUNT(*) FROM deliveries d WHERE d.process_id = p.id AND d.state = 'consumed') AS consumed,
       (SELECT COUNT(*) FROM outputs o
         WHERE o.process_id = p.id AND o.state IN ('staged', 'committed', 'published')) AS outputs,
       (SELECT SUM(d.entries_read) FROM deliveries d WHERE d.process_id = p.id) AS entries_read,
       (SELECT SUM(d.bytes_read) FROM deliveries d WHERE d.process_id = p.id) AS bytes_read,
       p.ended_at - p.started_at AS wall_time_s,
       (SELECT CAST(e.body ->> 'peak_rss_mb' AS DOUBLE PRECISION) FROM events e
         WHERE e.process_id = p.id AND e.kind = 'perf.recorded' ORDER BY e.id DESC LIMIT 1) AS peak_rss_mb,
       p.started_at,
       p.ended_at,
       p.reason
  FROM processes p
  JOIN projects j ON j.id = p.project_id
