-- Logins that were taken out of the database, and in whose place another one was brought: nothing deletes a login.
CREATE TABLE replaced_logins (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account bigint NOT NULL,
    dc_id integer NOT NULL,
    address text,
    port integer,
    key bytea NOT NULL,
    login text NOT NULL,
    -- The file to which it was taken.
    taken_to text,
    replaced_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
