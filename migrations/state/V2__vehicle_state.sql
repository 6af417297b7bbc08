-- A row as the consumers write it. Never altered, as consumers of the release before go on writing during an upgrade: a
-- further column comes with a type of its own.
CREATE TYPE vehicle_state AS (
    vehicle_id          uuid,
    provider_vehicle_id text,
    lat                 double precision,
    lon                 double precision,
    altitude_m          double precision,
    heading_deg         double precision,
    accuracy_m          double precision,
    position_at         timestamptz,
    speed_kmh           double precision,
    speed_at            timestamptz,
    battery_percent     double precision,
    battery_at          timestamptz,
    range_m             integer,
    range_at            timestamptz,
    odometer_m          integer,
    odometer_at         timestamptz,
    powered_on          boolean,
    powered_on_at       timestamptz,
    locked              boolean,
    locked_at           timestamptz,
    charging            boolean,
    charging_at         timestamptz,
    online              boolean,
    online_at           timestamptz,
    first_seen_at       timestamptz,
    last_seen_at        timestamptz,
    clock_skewed_at     timestamptz
);

COMMENT ON TYPE vehicle_state IS 'What a batch says about one vehicle: see the columns of vehicles.';
