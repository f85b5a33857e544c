-- What is written once and never again: refused by the database itself.
CREATE OR REPLACE FUNCTION bookkeeper_refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation'; END $$;

CREATE TRIGGER snapshot_files_no_update BEFORE UPDATE ON snapshot_files
FOR EACH ROW EXECUTE FUNCTION bookkeeper_refuse('a snapshot is immutable');
CREATE TRIGGER snapshot_files_no_delete BEFORE DELETE ON snapshot_files
FOR EACH ROW EXECUTE FUNCTION bookkeeper_refuse('a snapshot is immutable');
CREATE TRIGGER events_no_update BEFORE UPDATE ON events
FOR EACH ROW EXECUTE FUNCTION bookkeeper_refuse('events are append-only');
CREATE TRIGGER events_no_delete BEFORE DELETE ON events
FOR EACH ROW EXECUTE FUNCTION bookkeeper_refuse('events are append-only');
CREATE TRIGGER deliveries_no_delete BEFORE DELETE ON deliveries
FOR EACH ROW EXECUTE FUNCTION bookkeeper_refuse('deliveries are the history: never deleted');
CREATE TRIGGER ledger_no_delete BEFORE DELETE ON ledger
FOR EACH ROW EXECUTE FUNCTION bookkeeper_refuse('a file never leaves its request');

-- Whether every transaction that began before this one's writer has ended; in the arithmetic of 32 bits in which PostgreSQL
-- counts them: what is more than half the circle behind counts as ahead.
CREATE OR REPLACE FUNCTION bookkeeper_settled(writer xid) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS
$$
SELECT ((pg_snapshot_xmin(pg_current_snapshot())::text::bigint - writer::text::bigint) & 4294967295) BETWEEN 1 AND 2147483647
$$;

-- What SQLite has and the library's statements use: globs (as a regular expression), and metadata by its JSON path.
CREATE OR REPLACE FUNCTION bookkeeper_glob(glob text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS
$$
DECLARE
  regex text := '^';
  at int := 1;
  one text;
  closing int;
  inside text;
BEGIN
  WHILE at <= length(glob) LOOP
    one := substr(glob, at, 1);
    IF one = '*' THEN
      regex := regex || '.*';
    ELSIF one = '?' THEN
      regex := regex || '.';
    ELSIF one = '[' THEN
      inside := '';
      closing := at + 1;
      IF substr(glob, closing, 1) = '^' THEN
        inside := '^';
        closing := closing + 1;
      END IF;
      LOOP
        one := substr(glob, closing, 1);
        EXIT WHEN one = '' OR (one = ']' AND inside NOT IN ('', '^'));
        inside := inside || CASE WHEN one ~ '[[:alnum:]-]' THEN one ELSE E'\\' || one END;
        closing := closing + 1;
      END LOOP;
      regex := regex || '[' || inside || ']';
      at := closing;
    ELSIF one ~ '[[:alnum:]]' THEN
      regex := regex || one;
    ELSE
      regex := regex || CASE WHEN ascii(one) < 128 THEN E'\\' || one ELSE one END;
    END IF;
    at := at + 1;
  END LOOP;
  RETURN regex || '$';
END
$$;

CREATE OR REPLACE FUNCTION json_type(body json, path text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$
SELECT CASE json_typeof(body -> substr(path, 4, length(path) - 4))
         WHEN 'string' THEN 'text'
         WHEN 'number' THEN 'real'
         WHEN 'boolean' THEN body ->> substr(path, 4, length(path) - 4)
         ELSE json_typeof(body -> substr(path, 4, length(path) - 4))
       END
$$;

CREATE OR REPLACE FUNCTION json_extract(body json, path text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$
SELECT body ->> substr(path, 4, length(path) - 4)
$$;

CREATE OR REPLACE FUNCTION json_extract_number(body json, path text) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$
SELECT CASE WHEN json_typeof(body -> substr(path, 4, length(path) - 4)) = 'number'
            THEN (body ->> substr(path, 4, length(path) - 4))::numeric END
$$;

CREATE OR REPLACE FUNCTION json_extract_boolean(body json, path text) RETURNS int LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$
SELECT CASE body ->> substr(path, 4, length(path) - 4) WHEN 'true' THEN 1 WHEN 'false' THEN 0 END
$$;
