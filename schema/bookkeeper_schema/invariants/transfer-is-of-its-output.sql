-- A transfer belongs to the process and the request of its output, which lies where the transfer says.
SELECT 'transfer of output ' || t.output_id AS thing
  FROM transfers t
  LEFT JOIN outputs o ON o.id = t.output_id
 WHERE o.id IS NULL OR o.process_id <> t.process_id OR o.request_id <> t.request_id
    OR t.state IN ('waiting', 'running') AND o.temp_url <> t.near_url
    OR t.state = 'arrived' AND o.temp_url <> t.arrived_url
