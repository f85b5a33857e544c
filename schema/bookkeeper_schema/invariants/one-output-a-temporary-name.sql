-- No two outputs ever had one temporary name.
SELECT o.temp_url AS thing
  FROM outputs o
 GROUP BY o.temp_url
HAVING count(*) > 1
