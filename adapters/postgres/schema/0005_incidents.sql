-- Incidents of a whole fleet, and what each channel of alerts is told of them.
--
-- Each node numbers its incidents in a range of its own, so that it knows the number of one before it is stored. What a
-- node knows of an incident is a part of it; several nodes that see the same trouble have a part each of one incident,
-- which has the number of the first, and is over when the last part is.

-- The numbers from first + 1 on, a million of them; last is the greatest that was given.
CREATE TABLE incident_ranges (first bigint PRIMARY KEY, node text COLLATE "C" NOT NULL, last bigint NOT NULL);
CREATE INDEX incident_ranges_by_node ON incident_ranges (node, first);

-- Whoever stores an incident locks this row: two nodes that see a trouble at the same time make one incident of it.
CREATE TABLE incident_order (one boolean PRIMARY KEY DEFAULT true CHECK (one));
INSERT INTO incident_order DEFAULT VALUES;

CREATE TABLE incidents (
    id bigint PRIMARY KEY, kind text COLLATE "C" NOT NULL, cause text COLLATE "C" NOT NULL, fleet boolean NOT NULL,
    severity text COLLATE "C" NOT NULL, since float8 NOT NULL, opened float8 NOT NULL, closed float8, acked float8,
    detail text NOT NULL,
    -- The same for all nodes that see the same trouble.
    alike text COLLATE "C" NOT NULL);
CREATE INDEX incidents_open ON incidents (id) WHERE closed IS NULL;
CREATE INDEX incidents_alike ON incidents (alike) WHERE closed IS NULL;
CREATE INDEX incidents_closed ON incidents (closed) WHERE closed IS NOT NULL;

CREATE TABLE incident_parts (
    number bigint PRIMARY KEY, incident bigint NOT NULL REFERENCES incidents ON DELETE CASCADE,
    node text COLLATE "C" NOT NULL, life bigint NOT NULL, severity text COLLATE "C" NOT NULL,
    since float8 NOT NULL, opened float8 NOT NULL, closed float8);
CREATE INDEX incident_parts_by_incident ON incident_parts (incident);
CREATE INDEX incident_parts_open ON incident_parts (life) WHERE closed IS NULL;

-- An account, or a part of the engine, in one of its slots, and when it left; null while it is in the incident.
CREATE TABLE incident_members (
    part bigint NOT NULL REFERENCES incident_parts ON DELETE CASCADE, slot text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL, until float8, PRIMARY KEY (part, slot, name));

-- life is the life of the node that sends the messages of this alert; null: whoever is first. number is the incident's
-- part by which that node knows it. What else there is: see adapters/sqlite/alert_schema.py.
CREATE TABLE alerts (
    incident bigint NOT NULL, channel text COLLATE "C" NOT NULL, message text, due float8, told float8,
    messages bigint NOT NULL DEFAULT 0, tries bigint NOT NULL DEFAULT 0, over boolean NOT NULL DEFAULT false,
    changed float8 NOT NULL, about text NOT NULL, number bigint NOT NULL, life bigint,
    PRIMARY KEY (incident, channel)) WITH (fillfactor = 70);
CREATE INDEX alerts_open ON alerts (life) WHERE NOT over;
CREATE INDEX alerts_told ON alerts (told) WHERE told IS NOT NULL;
CREATE INDEX alerts_changed ON alerts (changed);

-- Makes the row of an incident what its parts say together.
CREATE FUNCTION sum_up_incident(which bigint) RETURNS void LANGUAGE sql AS $$
    UPDATE incidents SET (since, opened, severity, closed) = (
        -- 'critical' comes before 'warning'
        SELECT min(since), min(opened), min(severity), CASE WHEN bool_and(closed IS NOT NULL) THEN max(closed) END
        FROM incident_parts WHERE incident = which)
    WHERE id = which;
$$;

-- Stores what a node knows of an incident.
CREATE FUNCTION keep_incident(
    part_ bigint, kind_ text, cause_ text, fleet_ boolean, severity_ text, since_ float8, opened_ float8,
    closed_ float8, acked_ float8, detail_ text, alike_ text, node_ text, life_ bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    mine bigint;
    same bigint;
BEGIN
    PERFORM FROM incident_order FOR UPDATE;
    UPDATE incident_ranges SET last = part_ WHERE node = node_ AND last < part_ AND part_ - first BETWEEN 1 AND 1000000;
    SELECT incident INTO mine FROM incident_parts WHERE number = part_;
    -- A node that has two incidents that are alike knows why they are two.
    SELECT id INTO same FROM incidents WHERE closed IS NULL AND alike = alike_ AND NOT EXISTS (
        SELECT FROM incident_parts AS other
        WHERE other.incident = id AND other.life = life_ AND other.closed IS NULL AND other.number <> part_)
    ORDER BY id <> mine, id LIMIT 1;
    IF mine IS NULL THEN
        IF same IS NOT NULL AND NOT fleet_ THEN
            -- The account has another owner, which goes on with the incident.
            WITH former AS (
                UPDATE incident_parts SET closed = greatest(opened, opened_) WHERE incident = same AND closed IS NULL
                    AND NOT EXISTS (SELECT FROM nodes WHERE id = incident_parts.life AND state <> 'dead')
                RETURNING number)
            UPDATE incident_members SET until = opened_ FROM former WHERE part = number AND until IS NULL;
        END IF;
        mine := coalesce(same, part_);
        INSERT INTO incidents (id, kind, cause, fleet, severity, since, opened, closed, acked, detail, alike)
        VALUES (mine, kind_, cause_, fleet_, severity_, since_, opened_, closed_, acked_, detail_, alike_)
        ON CONFLICT DO NOTHING;
        INSERT INTO incident_parts VALUES (part_, mine, node_, life_, severity_, since_, opened_, closed_);
    ELSE
        UPDATE incident_parts SET (severity, since, opened, closed) = ROW (severity_, since_, opened_, closed_)
        WHERE number = part_;
        IF same <> mine AND closed_ IS NULL AND EXISTS (SELECT FROM incidents WHERE id = mine AND alike <> alike_) THEN
            -- It has become what another node tells of already, and goes on in that.
            UPDATE incident_parts SET incident = same WHERE number = part_;
            UPDATE alerts SET over = true WHERE incident = mine
                AND NOT EXISTS (SELECT FROM incident_parts WHERE incident = mine AND closed IS NULL);
            UPDATE incidents SET closed = greatest(opened, extract(epoch FROM clock_timestamp())) WHERE id = mine
                AND NOT EXISTS (SELECT FROM incident_parts WHERE incident = mine);
            PERFORM sum_up_incident(mine) FROM (SELECT FROM incident_parts WHERE incident = mine LIMIT 1) AS others;
            mine := same;
        ELSE
            UPDATE incidents SET (cause, fleet, alike) = ROW (cause_, fleet_, alike_) WHERE id = mine;
        END IF;
    END IF;
    UPDATE incidents SET acked = acked_ WHERE id = mine AND acked IS NULL AND acked_ IS NOT NULL;
    PERFORM sum_up_incident(mine);
END $$;

-- Ends the parts of nodes that have long been dead: whoever has their accounts now tells of what goes on.
CREATE FUNCTION end_parts_of_the_dead(after_ float8, now_ float8) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    which bigint[];
BEGIN
    IF NOT EXISTS (SELECT FROM incident_parts WHERE closed IS NULL
            AND NOT EXISTS (SELECT FROM nodes WHERE id = life AND state <> 'dead')) THEN
        RETURN;  -- nearly always: nobody has to wait for this
    END IF;
    PERFORM FROM incident_order FOR UPDATE;
    WITH ended AS (
        UPDATE incident_parts AS part SET closed = greatest(opened, now_)
        WHERE closed IS NULL AND NOT EXISTS (SELECT FROM nodes WHERE id = part.life AND (
            state <> 'dead' OR coalesce(ended_at, clock_timestamp()) > clock_timestamp() - make_interval(secs => after_)))
        RETURNING number, incident),
    gone AS (
        UPDATE incident_members SET until = now_ FROM ended WHERE part = number AND until IS NULL)
    SELECT array_agg(DISTINCT incident) INTO which FROM ended;
    PERFORM sum_up_incident(each) FROM unnest(which) AS each;
END $$;

-- Stores what a channel is told of an incident, as the node knows it that sends its messages; of others it is ignored.
CREATE FUNCTION keep_alert(
    number_ bigint, channel_ text, message_ text, due_ float8, told_ float8, messages_ bigint, tries_ bigint,
    over_ boolean, changed_ float8, about_ text, ended_ boolean, life_ bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    which bigint := coalesce((SELECT incident FROM incident_parts WHERE number = number_), number_);
    goes_on boolean := EXISTS (SELECT FROM incidents WHERE id = which AND closed IS NULL);
    keeper bigint := life_;
BEGIN
    IF goes_on AND ended_ THEN
        -- It is over for this node alone: another one goes on with what was told so far.
        UPDATE alerts SET life = NULL WHERE incident = which AND channel = channel_ AND life = life_ AND NOT over;
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM alerts
            WHERE incident = which AND channel = channel_ AND life = life_ AND NOT over AND messages > messages_) THEN
        -- It has claimed this alert, and does not know yet what was told: nobody's, as before, for whoever asks next.
        UPDATE alerts SET life = NULL WHERE incident = which AND channel = channel_ AND life = life_;
        RETURN;
    END IF;
    IF goes_on AND NOT EXISTS (
        SELECT FROM incident_parts WHERE incident = which AND life = life_ AND closed IS NULL) THEN
        keeper := NULL;  -- this node would not hear of the end
    END IF;
    INSERT INTO alerts VALUES (
        which, channel_, message_, due_, told_, messages_, tries_, over_, changed_, about_, number_, keeper)
    ON CONFLICT (incident, channel) DO UPDATE SET
        (message, due, told, messages, tries, over, changed, about, number, life) = ROW (
            message_, due_, told_, messages_, tries_, over_, changed_, about_, number_, keeper)
    -- One that is over while its incident goes on was of a channel that the config did not have then.
    WHERE alerts.life = life_ OR (alerts.over AND goes_on);
END $$;
