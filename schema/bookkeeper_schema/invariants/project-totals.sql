-- A project counts the files and committed files that the ledger says are its own.
SELECT 'project ' || j.name || ' says ' || j.files || ' files, ' || j.committed || ' committed; the ledger '
       || COALESCE(t.files, 0) || ' and ' || COALESCE(t.committed, 0) AS thing
  FROM projects j
  LEFT JOIN (SELECT l.project_id,
                    count(*) AS files,
                    sum(CASE WHEN l.state = 'committed' THEN 1 ELSE 0 END) AS committed
               FROM ledger l
              GROUP BY l.project_id) t ON t.project_id = j.id
 WHERE j.files <> COALESCE(t.files, 0) OR j.committed <> COALESCE(t.committed, 0)
