-- A live process holds every file that it was given.
SELECT 'file ' || d.file_id || ', given to process ' || p.id AS thing
  FROM processes p
  JOIN deliveries d ON d.process_id = p.id
 WHERE p.state IN ('active', 'staged')
   AND NOT EXISTS (SELECT 1 FROM ledger l
                    WHERE l.request_id = p.request_id AND l.file_id = d.file_id
                      AND l.state = 'held' AND l.process_id = p.id)
