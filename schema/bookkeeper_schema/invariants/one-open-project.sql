-- A request has at most one project that is not ended.
SELECT 'request ' || j.request_id || ' has ' || count(*) || ' open projects' AS thing
  FROM projects j
 WHERE j.state <> 'ended'
 GROUP BY j.request_id
HAVING count(*) > 1
