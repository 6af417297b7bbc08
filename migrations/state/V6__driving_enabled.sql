-- Whether the immobiliser lets the vehicle be driven. INVERS sends it.

-- Consumers and readers wait behind this migration while it waits for a long transaction. Rather fail, and be run again.
SET LOCAL lock_timeout = '10s';

-- Locks the view and then the table, in the order in which readers of the view lock them. In the other order this
-- migration and a reader would wait for each other.
LOCK TABLE vehicle_positions IN ACCESS EXCLUSIVE MODE;

ALTER TABLE vehicles ADD COLUMN driving_enabled boolean;
ALTER TABLE vehicles ADD COLUMN driving_enabled_at timestamptz;
ALTER TABLE vehicles ADD COLUMN driving_enabled_received_at timestamptz;

COMMENT ON COLUMN vehicles.driving_enabled IS
    'The immobiliser lets the vehicle be driven. INVERS: driving_enabled, CloudBoxx: immobilizer is unlocked. NIU and Segway do not send it.';
COMMENT ON COLUMN vehicles.driving_enabled_at IS 'When driving_enabled was observed.';
COMMENT ON COLUMN vehicles.driving_enabled_received_at IS
    'When driving_enabled was received; the last three digits are the event''s place in its webhook.';

-- The type received_vehicle_state stays, because consumers of the previous release use it during an upgrade.
CREATE TYPE vehicle_row_v6 AS (
    vehicle_id                  uuid,
    provider_vehicle_id         text,
    lat                         double precision,
    lon                         double precision,
    altitude_m                  double precision,
    heading_deg                 double precision,
    accuracy_m                  double precision,
    position_at                 timestamptz,
    position_received_at        timestamptz,
    speed_kmh                   double precision,
    speed_at                    timestamptz,
    speed_received_at           timestamptz,
    battery_percent             double precision,
    battery_at                  timestamptz,
    battery_received_at         timestamptz,
    range_m                     integer,
    range_at                    timestamptz,
    range_received_at           timestamptz,
    odometer_m                  integer,
    odometer_at                 timestamptz,
    odometer_received_at        timestamptz,
    powered_on                  boolean,
    powered_on_at               timestamptz,
    powered_on_received_at      timestamptz,
    locked                      boolean,
    locked_at                   timestamptz,
    locked_received_at          timestamptz,
    charging                    boolean,
    charging_at                 timestamptz,
    charging_received_at        timestamptz,
    online                      boolean,
    online_at                   timestamptz,
    online_received_at          timestamptz,
    driving_enabled             boolean,
    driving_enabled_at          timestamptz,
    driving_enabled_received_at timestamptz,
    first_seen_at               timestamptz,
    last_seen_at                timestamptz,
    clock_skewed_at             timestamptz
);

COMMENT ON TYPE vehicle_row_v6 IS 'A row that consumers from state V6 on write: see the columns of vehicles.';

-- PostgreSQL lets a view only gain columns, at its end.
CREATE OR REPLACE VIEW vehicle_positions AS
    SELECT provider,
           provider_vehicle_id,
           vehicle_id,
           lat,
           lon,
           position_at,
           now() - position_at AS position_age,
           battery_percent,
           range_m,
           odometer_m,
           powered_on,
           locked,
           charging,
           online,
           last_seen_at,
           driving_enabled
      FROM vehicles;

COMMENT ON COLUMN vehicle_positions.driving_enabled IS 'See vehicles.driving_enabled.';
