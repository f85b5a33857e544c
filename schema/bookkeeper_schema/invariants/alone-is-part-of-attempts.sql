-- A file failed alone at most as often as it failed.
SELECT 'file ' || l.file_id || ' of request ' || l.request_id || ': ' || l.alone || ' of ' || l.attempts AS thing
  FROM ledger l
 WHERE l.alone < 0 OR l.alone > l.attempts
