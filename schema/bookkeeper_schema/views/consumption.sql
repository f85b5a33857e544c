-- A row per delivery: what every process was given, and what became of it.
CREATE VIEW consumption AS
SELECT r.name AS request,
       j.name AS project,
       d.process_id,
       d.attempt,
       f.name AS file,
       d.state,
       p.state AS process_state,
       CASE WHEN d.state = 'consumed' AND p.state IN ('committed', 'revoking') THEN 1 ELSE 0 END AS committed,
       p.node,
       d.delivered_at,
       d.opened_at,
       d.consumed_at,
       d.entries_read,
       d.bytes_read,
       d.reason
  FROM deliveries d
  JOIN processes p ON p.id = d.process_id
  JOIN projects j ON j.id = p.project_id
  JOIN requests r ON r.id = p.request_id
  JOIN files f ON f.id = d.file_id
