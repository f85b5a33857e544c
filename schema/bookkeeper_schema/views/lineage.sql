-- A row per pair of output and input file that it contains: where every output came from.
CREATE VIEW lineage AS
SELECT o.key AS output,
       o.final_url AS output_url,
       o.state AS output_state,
       o.process_id,
       j.name AS project,
       f.name AS file
  FROM outputs o
  JOIN processes p ON p.id = o.process_id
  JOIN projects j ON j.id = p.project_id
  JOIN deliveries d ON d.process_id = o.process_id AND d.state = 'consumed'
  JOIN files f ON f.id = d.file_id
