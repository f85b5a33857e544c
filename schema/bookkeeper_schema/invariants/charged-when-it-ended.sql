-- Nothing is charged to a file before its process ends, and nothing that was consumed or left unread by one that committed.
SELECT 'file ' || d.file_id || ', charged in process ' || p.id || ' (' || p.state || ', ' || d.state || ')' AS thing
  FROM deliveries d
  JOIN processes p ON p.id = d.process_id
 WHERE d.charged
   AND (p.state IN ('active', 'staged')
        OR p.state IN ('committed', 'revoking', 'revoked') AND d.state NOT IN ('skipped', 'failed'))
