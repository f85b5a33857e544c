-- A process that committed decided every file that it opened.
SELECT 'file ' || d.file_id || ', opened by process ' || p.id AS thing
  FROM processes p
  JOIN deliveries d ON d.process_id = p.id
 WHERE p.state IN ('committed', 'revoking', 'revoked') AND d.state = 'opened'
