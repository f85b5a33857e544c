-- A request counts as many committed files as its ledger has.
SELECT 'request ' || r.name || ' says ' || r.committed || ' committed' AS thing
  FROM requests r
 WHERE r.committed <> (SELECT count(*) FROM ledger l WHERE l.request_id = r.id AND l.state = 'committed')
