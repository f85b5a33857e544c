-- A process that committed a partition committed every file of it.
SELECT 'file ' || l.file_id || ' of partition ' || p.partition_number || ', committed by process ' || p.id AS thing
  FROM processes p
  CROSS JOIN ledger k
  CROSS JOIN ledger l
 WHERE p.state IN ('committed', 'revoking') AND p.delivered > 0 AND p.partition_number IS NOT NULL
   AND k.request_id = p.request_id AND k.partition_number = p.partition_number
   AND l.request_id = k.request_id AND l.file_id = k.file_id
   AND (l.state <> 'committed' OR l.process_id <> p.id)
