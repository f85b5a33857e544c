-- A file had at most as many setbacks alone as it had in all.
SELECT 'file ' || l.file_id || ' of request ' || l.request_id || ': ' || l.setbacks_alone || ' of ' || l.setbacks AS thing
  FROM ledger l
 WHERE l.setbacks_alone < 0 OR l.setbacks_alone > l.setbacks
