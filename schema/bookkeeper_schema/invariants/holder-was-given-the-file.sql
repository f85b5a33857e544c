-- The ledger names, for every file that was ever delivered, a process that was given it; for the others none.
SELECT 'file ' || l.file_id || ' of request ' || l.request_id || ', last held by process ' || l.process_id AS thing
  FROM ledger l
 WHERE l.process_id IS NOT NULL
   AND NOT EXISTS (SELECT 1 FROM deliveries d
                     JOIN processes p ON p.id = d.process_id
                    WHERE d.process_id = l.process_id AND d.file_id = l.file_id AND p.request_id = l.request_id)
UNION ALL
SELECT 'file ' || l.file_id || ' of request ' || l.request_id || ', delivered and last held by nobody'
  FROM ledger l
 WHERE l.process_id IS NULL
   AND EXISTS (SELECT 1 FROM deliveries d
                CROSS JOIN processes p
                WHERE d.file_id = l.file_id AND p.id = d.process_id AND p.request_id = l.request_id)
