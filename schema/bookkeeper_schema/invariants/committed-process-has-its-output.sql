-- A committed process has an output, or declared that it has none.
SELECT 'process ' || p.id || CASE WHEN p.no_output THEN ' declared no output and has one' ELSE ' has no output' END AS thing
  FROM processes p
 WHERE p.state IN ('committed', 'revoking')
   AND p.no_output = EXISTS (SELECT 1 FROM outputs o WHERE o.process_id = p.id AND o.state IN ('committed', 'published'))
