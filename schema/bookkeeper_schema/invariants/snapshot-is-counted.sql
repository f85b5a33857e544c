-- A snapshot has as many files as it says.
SELECT 'snapshot ' || s.id || ' says ' || s.files || ' files' AS thing
  FROM snapshots s
 WHERE s.files <> (SELECT count(*) FROM snapshot_files x WHERE x.snapshot_id = s.id)
