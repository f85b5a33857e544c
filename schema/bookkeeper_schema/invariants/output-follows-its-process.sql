-- An output is staged while its process lives, counts with it, and goes with it.
SELECT 'output ' || o.final_url || ' is ' || o.state || ', its process ' || p.id || ' is ' || p.state AS thing
  FROM outputs o
  JOIN processes p ON p.id = o.process_id
 WHERE NOT (o.state = 'staged' AND p.state = 'staged'
            OR o.state IN ('committed', 'published') AND p.state IN ('committed', 'revoking')
            OR o.state = 'discarded' AND p.state = 'rolled_back'
            OR o.state = 'revoked' AND p.state = 'revoked')
