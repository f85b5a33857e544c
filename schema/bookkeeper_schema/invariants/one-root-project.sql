-- A request has one root project; the others recover an earlier project of the same request.
SELECT 'request ' || r.name AS thing
  FROM requests r
 WHERE (SELECT count(*) FROM projects j WHERE j.request_id = r.id AND j.recovers IS NULL) <> 1
UNION ALL
SELECT 'project ' || j.name
  FROM projects j
  JOIN projects k ON k.id = j.recovers
 WHERE k.request_id <> j.request_id OR k.id >= j.id
