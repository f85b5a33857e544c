-- A request's ledger has a row for every file of its snapshot, and for no other.
SELECT 'file ' || s.file_id || ' of the snapshot is missing in request ' || r.name AS thing
  FROM requests r
  JOIN snapshot_files s ON s.snapshot_id = r.snapshot_id
 WHERE NOT EXISTS (SELECT 1 FROM ledger l WHERE l.request_id = r.id AND l.file_id = s.file_id)
UNION ALL
SELECT 'file ' || l.file_id || ' of request ' || l.request_id || ' is in no snapshot of it'
  FROM ledger l
 WHERE NOT EXISTS (SELECT 1 FROM requests r
                     JOIN snapshot_files s ON s.snapshot_id = r.snapshot_id
                    WHERE r.id = l.request_id AND s.file_id = l.file_id)
