-- The content that a request pinned for a file is one that the file has or had.
SELECT 'file ' || l.file_id || ' of request ' || l.request_id || ', version ' || l.version AS thing
  FROM ledger l
  LEFT JOIN files f ON f.id = l.file_id
 WHERE f.id IS NULL
    OR f.version <> l.version
   AND NOT EXISTS (SELECT 1 FROM file_versions v WHERE v.file_id = l.file_id AND v.version = l.version)
