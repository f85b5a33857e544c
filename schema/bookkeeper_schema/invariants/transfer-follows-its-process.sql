-- A transfer is on its way while its process is staged, has arrived when it commits, and is given up when it is rolled back.
SELECT 'transfer of output ' || t.output_id || ' is ' || t.state || ', its process ' || p.id || ' is ' || p.state AS thing
  FROM transfers t
  JOIN processes p ON p.id = t.process_id
 WHERE NOT (t.state IN ('waiting', 'running', 'arrived') AND p.state = 'staged'
            OR t.state = 'arrived' AND p.state IN ('committed', 'revoking', 'revoked')
            OR t.state = 'given_up' AND p.state = 'rolled_back'
            OR t.state = 'done' AND p.state IN ('committed', 'revoking', 'revoked', 'rolled_back'))
