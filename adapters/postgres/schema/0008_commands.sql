-- What people ask of nodes and of accounts, from any host. adapters/postgres/account_commands.py has the statements.

-- Whether the node is to take no accounts: unlike the state it outlives a life, until a person takes it back.
ALTER TABLE nodes ADD COLUMN drain_asked boolean NOT NULL DEFAULT false;
UPDATE nodes SET drain_asked = true WHERE state = 'draining';

-- Until when no node may have the account, and its owner gives it up; null: not withheld; infinity: its session was
-- taken away. A time, so that a command that is killed withholds nothing for ever.
ALTER TABLE accounts ADD COLUMN withheld_until timestamptz;
UPDATE accounts SET withheld_until = 'infinity' WHERE id IN (SELECT account FROM sessions WHERE taken_to IS NOT NULL);
CREATE INDEX accounts_withheld ON accounts (owner) WHERE withheld_until IS NOT NULL;

-- Commands to accounts: whoever owns the account carries it out. A row is gone when its answer was read.
CREATE TABLE account_commands (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    verb text NOT NULL,
    -- From then on nobody begins it.
    expires_at timestamptz NOT NULL,
    -- The life that carries it out, or did so last.
    taken_by bigint,
    -- The answer; null: there is none yet.
    done boolean,
    said text
);
CREATE INDEX account_commands_waiting ON account_commands (account) WHERE done IS NULL;
CREATE INDEX account_commands_old ON account_commands (expires_at);
