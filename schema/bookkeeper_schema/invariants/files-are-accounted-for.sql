-- The files of a request are its snapshot's: each one available, held, committed or parked.
SELECT 'request ' || r.name || ' says ' || r.files || ' files, its snapshot ' || s.files || ', its ledger accounts for '
       || (SELECT count(*) FROM ledger l
            WHERE l.request_id = r.id AND l.state IN ('available', 'held', 'committed', 'parked')) AS thing
  FROM requests r
  JOIN snapshots s ON s.id = r.snapshot_id
 WHERE r.files <> s.files
    OR r.files <> (SELECT count(*) FROM ledger l
                    WHERE l.request_id = r.id AND l.state IN ('available', 'held', 'committed', 'parked'))
