-- A request counts the bytes of its outputs that lie at near storages.
SELECT 'request ' || r.name || ' says ' || r.near_bytes || ' bytes at near storages, its transfers '
       || COALESCE(n.bytes, 0) AS thing
  FROM requests r
  LEFT JOIN (SELECT t.request_id, sum(o.size) AS bytes
               FROM transfers t
               JOIN outputs o ON o.id = t.output_id
              WHERE t.state <> 'done'
              GROUP BY t.request_id) n ON n.request_id = r.id
 WHERE r.near_bytes <> COALESCE(n.bytes, 0)
