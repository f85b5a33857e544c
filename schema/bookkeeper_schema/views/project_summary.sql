-- A row per project: its own share of the request's files, and its processes. Constant in the number of files.
CREATE VIEW project_summary AS
SELECT j.name AS project,
       r.name AS request,
       (SELECT k.name FROM projects k WHERE k.id = j.recovers) AS recovers,
       j.state,
       j.files,
       j.committed,
       (SELECT COUNT(*) FROM processes p CROSS JOIN ledger l
         WHERE p.request_id = j.request_id AND p.state IN ('active', 'staged') AND p.project_id = j.id
           AND l.process_id = p.id AND l.state = 'held') AS held,
       j.files - j.committed
         - (SELECT COUNT(*) FROM processes p CROSS JOIN ledger l
         WHERE p.request_id = j.request_id AND p.state IN ('active', 'staged') AND p.project_id = j.id
           AND l.process_id = p.id AND l.state = 'held')
         - (SELECT COUNT(*) FROM ledger l WHERE l.project_id = j.id AND l.state = 'parked') AS available,
       (SELECT COUNT(*) FROM ledger l WHERE l.project_id = j.id AND l.state = 'parked') AS parked,
       (SELECT COUNT(*) FROM processes p
         WHERE p.request_id = j.request_id AND p.state = 'active' AND p.project_id = j.id) AS processes_active,
       (SELECT COUNT(*) FROM processes p
         WHERE p.request_id = j.request_id AND p.state = 'staged' AND p.project_id = j.id) AS processes_staged,
       j.commits AS processes_committed,
       j.rollbacks AS processes_rolled_back,
       j.started_at,
       j.ended_at
  FROM projects j
  JOIN requests r ON r.id = j.request_id
