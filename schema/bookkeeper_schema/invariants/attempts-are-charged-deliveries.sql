-- A file's attempts are its charged deliveries in the request.
SELECT 'file ' || l.file_id || ' of request ' || l.request_id || ' has ' || l.attempts || ' attempts' AS thing
  FROM ledger l
 WHERE l.attempts <> (SELECT count(*) FROM deliveries d
                        JOIN processes p ON p.id = d.process_id
                       WHERE d.file_id = l.file_id AND d.charged AND p.request_id = l.request_id)
