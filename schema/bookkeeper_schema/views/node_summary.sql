-- A row per request and node: how its processes fared there. Waste is the wall time of processes that had files and were
-- rolled back, for whatever reason; only those whose failure was explained count as failed.
CREATE VIEW node_summary AS
SELECT r.name AS request,
       p.node,
       COUNT(*) AS processes,
       SUM(CASE WHEN p.state IN ('active', 'staged') THEN 1 ELSE 0 END) AS running,
       SUM(CASE WHEN p.state IN ('committed', 'revoking') THEN 1 ELSE 0 END) AS committed,
       SUM(CASE WHEN e.id IS NOT NULL AND COALESCE(e.body ->> 'step', '') <> 'output-storage' THEN 1 ELSE 0 END) AS failed,
       SUM(CASE WHEN e.body ->> 'step' = 'output-storage' THEN 1 ELSE 0 END) AS stageout_failures,
       COALESCE(SUM(p.ended_at - p.started_at), 0.0) AS wall_time_s,
       SUM(CASE WHEN p.state = 'rolled_back' AND p.delivered > 0 THEN p.ended_at - p.started_at ELSE 0.0 END) AS waste_s,
       x.until AS excluded_until,
       MAX(CASE WHEN e.id IS NOT NULL THEN p.ended_at END) AS last_failure
  FROM requests r
  JOIN processes p ON p.request_id = r.id
  LEFT JOIN events e ON p.state = 'rolled_back'
        AND e.id = (SELECT MAX(n.id) FROM events n WHERE n.process_id = p.id AND n.kind = 'failure.classified')
  LEFT JOIN excluded_nodes x ON x.node = p.node
 GROUP BY r.name, p.node, x.until
