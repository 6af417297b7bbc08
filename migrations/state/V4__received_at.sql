-- When each attribute was received. Providers' times are often whole seconds: of two values of one time, the one that was
-- received later counts.
ALTER TABLE vehicles ADD COLUMN position_received_at timestamptz;
ALTER TABLE vehicles ADD COLUMN speed_received_at timestamptz;
ALTER TABLE vehicles ADD COLUMN battery_received_at timestamptz;
ALTER TABLE vehicles ADD COLUMN range_received_at timestamptz;
ALTER TABLE vehicles ADD COLUMN odometer_received_at timestamptz;
ALTER TABLE vehicles ADD COLUMN powered_on_received_at timestamptz;
ALTER TABLE vehicles ADD COLUMN locked_received_at timestamptz;
ALTER TABLE vehicles ADD COLUMN charging_received_at timestamptz;
ALTER TABLE vehicles ADD COLUMN online_received_at timestamptz;

COMMENT ON COLUMN vehicles.position_received_at IS
    'When the position was received; its last three digits are the event''s place in its webhook. Null if it was stored before this column was.';
COMMENT ON COLUMN vehicles.speed_received_at IS
    'When the speed was received; its last three digits are the event''s place in its webhook. Null if it was stored before this column was.';
COMMENT ON COLUMN vehicles.battery_received_at IS
    'When the charge was received; its last three digits are the event''s place in its webhook. Null if it was stored before this column was.';
COMMENT ON COLUMN vehicles.range_received_at IS
    'When the range was received; its last three digits are the event''s place in its webhook. Null if it was stored before this column was.';
COMMENT ON COLUMN vehicles.odometer_received_at IS
    'When the distance was received; its last three digits are the event''s place in its webhook. Null if it was stored before this column was.';
COMMENT ON COLUMN vehicles.powered_on_received_at IS
    'When the powered_on was received; its last three digits are the event''s place in its webhook. Null if it was stored before this column was.';
COMMENT ON COLUMN vehicles.locked_received_at IS
    'When the locked was received; its last three digits are the event''s place in its webhook. Null if it was stored before this column was.';
COMMENT ON COLUMN vehicles.charging_received_at IS
    'When the charging was received; its last three digits are the event''s place in its webhook. Null if it was stored before this column was.';
COMMENT ON COLUMN vehicles.online_received_at IS
    'When the online was received; its last three digits are the event''s place in its webhook. Null if it was stored before this column was.';
COMMENT ON TABLE vehicles IS
    'Current state, one row a vehicle. Each attribute is the greatest (time, receipt, value) ever reported, so that late, repeated and reordered webhooks cannot turn it back.';
COMMENT ON COLUMN vehicles.clock_skewed_at IS
    'When the last event was received that has a time that cannot be true or cannot be read; another time was used in its place.';

-- The type vehicle_state stays: consumers of the release before use it during an upgrade.
CREATE TYPE received_vehicle_state AS (
    vehicle_id             uuid,
    provider_vehicle_id    text,
    lat                    double precision,
    lon                    double precision,
    altitude_m             double precision,
    heading_deg            double precision,
    accuracy_m             double precision,
    position_at            timestamptz,
    position_received_at   timestamptz,
    speed_kmh              double precision,
    speed_at               timestamptz,
    speed_received_at      timestamptz,
    battery_percent        double precision,
    battery_at             timestamptz,
    battery_received_at    timestamptz,
    range_m                integer,
    range_at               timestamptz,
    range_received_at      timestamptz,
    odometer_m             integer,
    odometer_at            timestamptz,
    odometer_received_at   timestamptz,
    powered_on             boolean,
    powered_on_at          timestamptz,
    powered_on_received_at timestamptz,
    locked                 boolean,
    locked_at              timestamptz,
    locked_received_at     timestamptz,
    charging               boolean,
    charging_at            timestamptz,
    charging_received_at   timestamptz,
    online                 boolean,
    online_at              timestamptz,
    online_received_at     timestamptz,
    first_seen_at          timestamptz,
    last_seen_at           timestamptz,
    clock_skewed_at        timestamptz
);

COMMENT ON TYPE received_vehicle_state IS 'What a batch says about one vehicle: see the columns of vehicles.';
