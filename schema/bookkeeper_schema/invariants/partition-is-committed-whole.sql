-- A process that committed a partition committed every file of it.
SELECT 'file ' || l.file_id || ' of partition ' || p.partition_number || ', committed by process ' || p.id AS thing
  FROM processes p
  JOIN ledger l ON l.request_id = p.request_id AND l.partition_number = p.partition_number
 WHERE p.state IN ('committed', 'revoking') AND p.delivered > 0 AND p.partition_number IS NOT NULL
   AND (l.state <> 'committed' OR l.process_id <> p.id)
