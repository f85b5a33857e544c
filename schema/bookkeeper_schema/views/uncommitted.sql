-- A row per ledger row that is not committed, with the reason in words. CROSS JOIN keeps the order that leads to the
-- three partial indexes: what is committed is never looked at.
CREATE VIEW uncommitted AS
SELECT r.name AS request,
       j.name AS project,
       f.name AS file,
       l.state,
       l.attempts,
       CASE
         WHEN p.id IS NULL THEN 'never delivered'
         WHEN d.state IN ('skipped', 'failed') THEN d.state || ': ' || d.reason
         WHEN p.state = 'rolled_back' THEN 'process ' || p.id || ' rolled back: ' || p.reason
         WHEN p.state = 'revoked' THEN 'process ' || p.id || ' revoked: ' || p.reason
         ELSE 'left unread by process ' || p.id
       END AS reason,
       p.id AS last_process_id,
       p.node AS last_node
  FROM requests r
 CROSS JOIN projects j
 CROSS JOIN ledger l
  JOIN files f ON f.id = l.file_id
  LEFT JOIN processes p ON p.id = l.process_id
  LEFT JOIN deliveries d ON d.process_id = l.process_id AND d.file_id = l.file_id
 WHERE j.request_id = r.id AND l.project_id = j.id AND l.state = 'available'
UNION ALL
SELECT r.name,
       j.name,
       f.name,
       l.state,
       l.attempts,
       'held by process ' || p.id || COALESCE(' on ' || p.node, ''),
       p.id,
       p.node
  FROM requests r
 CROSS JOIN processes p
 CROSS JOIN ledger l
  JOIN projects j ON j.id = l.project_id
  JOIN files f ON f.id = l.file_id
 WHERE p.request_id = r.id AND p.state IN ('active', 'staged') AND l.process_id = p.id AND l.state = 'held'
UNION ALL
SELECT r.name,
       j.name,
       f.name,
       l.state,
       l.attempts,
       l.reason,
       p.id,
       p.node
  FROM requests r
 CROSS JOIN projects j
 CROSS JOIN ledger l
  JOIN files f ON f.id = l.file_id
  LEFT JOIN processes p ON p.id = l.process_id
 WHERE j.request_id = r.id AND l.project_id = j.id AND l.state = 'parked'
