-- A project that was ended with the fence has no live process.
SELECT 'process ' || p.id || ' of project ' || j.name AS thing
  FROM processes p
  JOIN projects j ON j.id = p.project_id
 WHERE p.state IN ('active', 'staged') AND j.state = 'ended' AND j.fenced
