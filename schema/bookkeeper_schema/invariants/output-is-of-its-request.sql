-- An output belongs to the request of the process that made it.
SELECT 'output ' || o.final_url || ' of request ' || o.request_id || ', made by process ' || o.process_id AS thing
  FROM outputs o
  LEFT JOIN processes p ON p.id = o.process_id
 WHERE p.id IS NULL OR p.request_id <> o.request_id
