-- Whoever follows the lives of accounts has them in the order of (tx, id), as with the journal: numbers are given before
-- their transactions are over, and a life of one writer may become visible after a later one of another.
ALTER TABLE lives ADD COLUMN tx xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX lives_in_order ON lives (tx, id);
