-- The accounts section that was applied last, by whichever node: see adapters/postgres/sections.py.

CREATE TABLE account_section (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    -- Counts the sections that were applied.
    generation bigint NOT NULL
);
INSERT INTO account_section (generation) VALUES (0);

-- The section with which an account came. Nobody takes it while a node lives whose config is older, and lacks it.
ALTER TABLE accounts ADD COLUMN generation bigint NOT NULL DEFAULT 0;
-- The section that the config of the node has.
ALTER TABLE nodes ADD COLUMN generation bigint NOT NULL DEFAULT 0;
