-- A file's attempts are its charged deliveries in the request.
SELECT 'file ' || l.file_id || ' of request ' || l.request_id || ' has ' || l.attempts || ' attempts, charged '
       || COALESCE(t.charged, 0) AS thing
  FROM ledger l
  LEFT JOIN (SELECT p.request_id, d.file_id, count(*) AS charged
               FROM deliveries d
               JOIN processes p ON p.id = d.process_id
              WHERE d.charged
              GROUP BY p.request_id, d.file_id) t ON t.request_id = l.request_id AND t.file_id = l.file_id
 WHERE l.attempts <> COALESCE(t.charged, 0)
