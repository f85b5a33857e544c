-- A committed file was consumed by the committed process that the ledger names.
SELECT 'file ' || l.file_id || ' of request ' || l.request_id || ', committed by process ' || COALESCE(l.process_id, 0) AS thing
  FROM ledger l
 WHERE l.state = 'committed'
   AND NOT EXISTS (SELECT 1 FROM deliveries d
                     JOIN processes p ON p.id = d.process_id
                    WHERE d.process_id = l.process_id AND d.file_id = l.file_id AND d.state = 'consumed'
                      AND p.request_id = l.request_id AND p.state IN ('committed', 'revoking'))
