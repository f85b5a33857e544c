-- What a committed process consumed is committed in the ledger.
SELECT 'file ' || d.file_id || ', consumed by process ' || p.id AS thing
  FROM processes p
  JOIN deliveries d ON d.process_id = p.id
 WHERE p.state IN ('committed', 'revoking') AND d.state = 'consumed'
   AND NOT EXISTS (SELECT 1 FROM ledger l
                    WHERE l.request_id = p.request_id AND l.file_id = d.file_id AND l.state = 'committed')
