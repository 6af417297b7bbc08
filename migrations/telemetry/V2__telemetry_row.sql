-- A row as the consumers write it. Never altered, as consumers of the release before go on writing during an upgrade: a
-- further column comes with a type of its own.
CREATE TYPE telemetry_row AS (
    vehicle_id      uuid,
    observed_at     timestamptz,
    event_id        uuid,
    received_at     timestamptz,
    message_id      uuid,
    topic           text,
    kind            text,
    lat             double precision,
    lon             double precision,
    speed_kmh       double precision,
    battery_percent double precision,
    raw             json
);

COMMENT ON TYPE telemetry_row IS 'One event: see the columns of telemetry.';
