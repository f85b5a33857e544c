-- A row per failed process: the newest explanation of its failure, and what it cost. A process that was interrupted, or
-- that found nothing to do, is no failure: nothing was explained of it. The ledger names the last process that had a file:
-- another one than the failed one is a retry.
CREATE VIEW failures AS
SELECT r.name AS request,
       j.name AS project,
       p.id AS process_id,
       p.node,
       p.ended_at AS at,
       COALESCE(e.body ->> 'category', 'unknown') AS category,
       COALESCE(e.body ->> 'rule', 'unknown') AS rule,
       CAST(e.body ->> 'confidence' AS DOUBLE PRECISION) AS confidence,
       e.body ->> 'message' AS message,
       e.body ->> 'fingerprint' AS fingerprint,
       e.body ->> 'evidence' AS evidence,
       e.body ->> 'remedy' AS remedy,
       e.body ->> 'step' AS step,
       CAST(e.body ->> 'exit_code' AS INTEGER) AS exit_code,
       CAST(e.body ->> 'signal' AS INTEGER) AS signal,
       p.delivered AS files,
       p.ended_at - p.started_at AS wall_time_s,
       e.body ->> 'by' AS by,
       (SELECT COUNT(*) FROM deliveries d CROSS JOIN ledger l
         WHERE d.process_id = p.id AND l.request_id = r.id AND l.file_id = d.file_id AND l.process_id <> p.id) AS retried,
       (SELECT COUNT(*) FROM deliveries d CROSS JOIN ledger l
         WHERE d.process_id = p.id AND l.request_id = r.id AND l.file_id = d.file_id AND l.state = 'committed') AS recovered,
       (SELECT COUNT(*) FROM deliveries d CROSS JOIN ledger l
         WHERE d.process_id = p.id AND l.request_id = r.id AND l.file_id = d.file_id AND l.state = 'parked') AS parked,
       (SELECT COUNT(*) FROM deliveries d CROSS JOIN ledger l
         WHERE d.process_id = p.id AND l.request_id = r.id AND l.file_id = d.file_id AND l.state = 'available') AS waiting
  FROM requests r
  JOIN projects j ON j.request_id = r.id
  JOIN events e ON e.project_id = j.id AND e.kind = 'failure.classified'
  JOIN processes p ON p.id = e.process_id
 WHERE p.state = 'rolled_back'
   AND e.id = (SELECT MAX(n.id) FROM events n
                WHERE n.process_id = e.process_id AND n.kind = 'failure.classified')
