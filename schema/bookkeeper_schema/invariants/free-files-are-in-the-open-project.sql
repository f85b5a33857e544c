-- An available file waits in the request's open project, where there is one.
SELECT 'file ' || l.file_id || ' waits in project ' || l.project_id || ', open is ' || j.name AS thing
  FROM projects j
  JOIN ledger l ON l.request_id = j.request_id
 WHERE j.state <> 'ended' AND l.state = 'available' AND l.project_id <> j.id
