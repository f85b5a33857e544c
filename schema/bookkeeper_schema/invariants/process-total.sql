-- A process counts the files that it was given.
SELECT 'process ' || p.id || ' says ' || p.delivered || ' files' AS thing
  FROM processes p
 WHERE p.delivered <> (SELECT count(*) FROM deliveries d WHERE d.process_id = p.id)
