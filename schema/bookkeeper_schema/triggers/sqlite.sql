-- What is written once and never again: refused by the database itself.
CREATE TRIGGER snapshot_files_no_update BEFORE UPDATE ON snapshot_files
BEGIN SELECT RAISE(ABORT, 'a snapshot is immutable'); END;
CREATE TRIGGER snapshot_files_no_delete BEFORE DELETE ON snapshot_files
BEGIN SELECT RAISE(ABORT, 'a snapshot is immutable'); END;
CREATE TRIGGER events_no_update BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_no_delete BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER deliveries_no_delete BEFORE DELETE ON deliveries
BEGIN SELECT RAISE(ABORT, 'deliveries are the history: never deleted'); END;
CREATE TRIGGER ledger_no_delete BEFORE DELETE ON ledger
BEGIN SELECT RAISE(ABORT, 'a file never leaves its request'); END;
