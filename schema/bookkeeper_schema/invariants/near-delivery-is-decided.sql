-- A process that waits for its transfers has decided every file that it opened.
SELECT 'file ' || d.file_id || ', opened by process ' || p.id AS thing
  FROM processes p
  JOIN deliveries d ON d.process_id = p.id
 WHERE p.state = 'staged' AND d.state = 'opened'
   AND EXISTS (SELECT 1 FROM transfers t WHERE t.process_id = p.id)
