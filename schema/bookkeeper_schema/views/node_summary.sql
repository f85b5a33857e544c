-- A row per request and node: how its processes fared there, and what became of the files of those that failed. Waste is
-- the wall time of processes that had files and were rolled back, for whatever reason; only those whose failure was
-- explained count as failed. The ledger names the last process that had a file: another one than the failed one is a retry.
-- A failed process is joined with each of its files; o is the process once, beside the first of them.
CREATE VIEW node_summary AS
SELECT r.name AS request,
       p.node,
       COUNT(o.id) AS processes,
       SUM(CASE WHEN o.state IN ('active', 'staged') THEN 1 ELSE 0 END) AS running,
       SUM(CASE WHEN o.state IN ('committed', 'revoking') THEN 1 ELSE 0 END) AS committed,
       COUNT(CASE WHEN e.id IS NOT NULL AND COALESCE(e.body ->> 'step', '') <> 'output-storage' THEN o.id END) AS failed,
       COUNT(CASE WHEN e.body ->> 'step' = 'output-storage' THEN o.id END) AS stageout_failures,
       COALESCE(SUM(o.ended_at - o.started_at), 0.0) AS wall_time_s,
       SUM(CASE WHEN o.state = 'rolled_back' AND o.delivered > 0 THEN o.ended_at - o.started_at ELSE 0.0 END) AS waste_s,
       x.until AS excluded_until,
       MAX(CASE WHEN e.id IS NOT NULL THEN p.ended_at END) AS last_failure,
       COUNT(DISTINCT l.file_id) AS failed_files,
       COUNT(DISTINCT CASE WHEN l.process_id <> p.id THEN l.file_id END) AS retried,
       COUNT(DISTINCT CASE WHEN l.state = 'committed' THEN l.file_id END) AS recovered
  FROM requests r
  JOIN processes p ON p.request_id = r.id
  LEFT JOIN events e ON p.state = 'rolled_back'
        AND e.id = (SELECT MAX(n.id) FROM events n WHERE n.process_id = p.id AND n.kind = 'failure.classified')
  LEFT JOIN deliveries d ON e.id IS NOT NULL AND d.process_id = p.id
  LEFT JOIN ledger l ON l.request_id = p.request_id AND l.file_id = d.file_id
  LEFT JOIN processes o ON o.id = p.id
        AND NOT EXISTS (SELECT 1 FROM deliveries b WHERE b.process_id = d.process_id AND b.file_id < d.file_id)
  LEFT JOIN excluded_nodes x ON x.node = p.node
 GROUP BY r.name, p.node, x.until
