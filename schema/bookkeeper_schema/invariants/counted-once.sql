-- No file counts in two processes of a request.
SELECT 'file ' || d.file_id || ' of request ' || p.request_id || ' counts in ' || count(*) || ' processes' AS thing
  FROM deliveries d
  JOIN processes p ON p.id = d.process_id
 WHERE d.state = 'consumed' AND p.state IN ('committed', 'revoking')
 GROUP BY p.request_id, d.file_id
HAVING count(*) > 1
