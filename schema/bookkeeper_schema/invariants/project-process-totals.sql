-- A project counts the processes that committed and that were rolled back.
SELECT 'project ' || j.name || ' says ' || j.commits || ' commits and ' || j.rollbacks || ' roll backs' AS thing
  FROM projects j
 WHERE j.commits <> (SELECT count(*) FROM processes p
                      WHERE p.request_id = j.request_id AND p.project_id = j.id AND p.state IN ('committed', 'revoking'))
    OR j.rollbacks <> (SELECT count(*) FROM processes p
                        WHERE p.request_id = j.request_id AND p.project_id = j.id AND p.state = 'rolled_back')
