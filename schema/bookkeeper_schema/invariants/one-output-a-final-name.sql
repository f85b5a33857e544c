-- No two outputs that count, or may come to count, have one final name.
SELECT o.final_url AS thing
  FROM outputs o
 WHERE o.state NOT IN ('discarded', 'revoked')
 GROUP BY o.final_url
HAVING count(*) > 1
