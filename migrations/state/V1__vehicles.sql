-- The current state of every vehicle, and which batches are already in it.

CREATE TABLE vehicles (
    vehicle_id          uuid             PRIMARY KEY,
    provider            text             NOT NULL,
    provider_vehicle_id text             NOT NULL,
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
    first_seen_at       timestamptz      NOT NULL,
    last_seen_at        timestamptz      NOT NULL,
    clock_skewed_at     timestamptz
)
-- Every event updates its vehicle's row: leave room for the new version on the same page (HOT), and index no column
-- that changes with every event.
WITH (fillfactor = 70);

-- Plain, not unique: with a second unique index, two first sights of one vehicle at once raise 23505 in spite of
-- ON CONFLICT (vehicle_id). vehicle_id is derived from these two columns, so they cannot repeat anyway.
CREATE INDEX vehicles_provider ON vehicles (provider, provider_vehicle_id);

COMMENT ON TABLE vehicles IS
    'Current state, one row a vehicle. Each attribute is the greatest (time, value) ever reported, so that late, repeated and reordered webhooks cannot turn it back.';
COMMENT ON COLUMN vehicles.vehicle_id IS 'UUIDv5 over provider:provider_vehicle_id; the same in every database.';
COMMENT ON COLUMN vehicles.provider IS 'Slug of the provider: niu, segway, invers.';
COMMENT ON COLUMN vehicles.provider_vehicle_id IS 'The provider''s own id: NIU sn, Segway iotCode, INVERS vehicle_id or qnr.';
COMMENT ON COLUMN vehicles.lat IS 'Degrees, WGS-84 (NIU''s mainland-China servers send GCJ-02, stored as sent).';
COMMENT ON COLUMN vehicles.lon IS 'Degrees, WGS-84 (NIU''s mainland-China servers send GCJ-02, stored as sent).';
COMMENT ON COLUMN vehicles.altitude_m IS 'Metres, as the provider means it; belongs to the position.';
COMMENT ON COLUMN vehicles.heading_deg IS 'Degrees clockwise from north; belongs to the position.';
COMMENT ON COLUMN vehicles.accuracy_m IS 'Radius of uncertainty in metres; belongs to the position.';
COMMENT ON COLUMN vehicles.position_at IS 'When the position was fixed.';
COMMENT ON COLUMN vehicles.speed_kmh IS 'Kilometres an hour.';
COMMENT ON COLUMN vehicles.speed_at IS 'When the speed was observed.';
COMMENT ON COLUMN vehicles.battery_percent IS 'Charge of the traction battery (mean of several) or fuel level, 0 to 100.';
COMMENT ON COLUMN vehicles.battery_at IS 'When the charge was observed.';
COMMENT ON COLUMN vehicles.range_m IS 'Remaining range in metres.';
COMMENT ON COLUMN vehicles.range_at IS 'When the range was observed.';
COMMENT ON COLUMN vehicles.odometer_m IS 'Total distance in metres.';
COMMENT ON COLUMN vehicles.odometer_at IS 'When the distance was observed.';
COMMENT ON COLUMN vehicles.powered_on IS 'The electronics are on: the vehicle can be driven.';
COMMENT ON COLUMN vehicles.powered_on_at IS 'When powered_on was observed.';
COMMENT ON COLUMN vehicles.locked IS 'Locked, or the alarm armed.';
COMMENT ON COLUMN vehicles.locked_at IS 'When locked was observed.';
COMMENT ON COLUMN vehicles.charging IS 'The traction battery is charging.';
COMMENT ON COLUMN vehicles.charging_at IS 'When charging was observed.';
COMMENT ON COLUMN vehicles.online IS 'The vehicle has a connection to its provider.';
COMMENT ON COLUMN vehicles.online_at IS 'When online was observed.';
COMMENT ON COLUMN vehicles.first_seen_at IS 'When the first webhook about the vehicle was received.';
COMMENT ON COLUMN vehicles.last_seen_at IS 'When the last webhook about the vehicle was received.';
COMMENT ON COLUMN vehicles.clock_skewed_at IS
    'When the last event with a time too far in the future was received; such a time counts as the time of receipt.';

CREATE TABLE settled_state_batches (
    lease_id     uuid        NOT NULL,
    first_record integer     NOT NULL,
    records      integer     NOT NULL,
    provider     text        NOT NULL,
    vehicles     integer     NOT NULL,
    settled_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (lease_id, first_record, records)
);

COMMENT ON TABLE settled_state_batches IS
    'Parts of queue batches whose state is in vehicles; committed with it. A batch whose parts are all here is not written again.';
COMMENT ON COLUMN settled_state_batches.lease_id IS 'The batch''s id in the queue.';
COMMENT ON COLUMN settled_state_batches.first_record IS 'Index of the part''s first record in the batch.';
COMMENT ON COLUMN settled_state_batches.records IS 'Events, and messages without any, in the part.';
COMMENT ON COLUMN settled_state_batches.provider IS 'Slug of the provider.';
COMMENT ON COLUMN settled_state_batches.vehicles IS 'Vehicles the part touched.';
COMMENT ON COLUMN settled_state_batches.settled_at IS 'When the part was committed.';

CREATE VIEW vehicle_positions AS
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
       last_seen_at
  FROM vehicles;

COMMENT ON VIEW vehicle_positions IS
    'For backend developers: where every vehicle is and how it is. lat, lon and position_at are null until the first fix.';
COMMENT ON COLUMN vehicle_positions.position_age IS 'How long ago the position was fixed.';
