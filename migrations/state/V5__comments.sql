-- The comments of all tables, columns, views and types that V1 to V4 create. Later migrations comment what they add.

COMMENT ON TABLE vehicles IS
    'The current state of every vehicle, one row each. For each attribute, the report with the newest observation time counts; of two reports with the same time, the one that was received later. Late, repeated and reordered webhooks therefore cannot replace a newer value.';
COMMENT ON COLUMN vehicles.vehicle_id IS
    'UUIDv5 of provider:provider_vehicle_id. The same in both databases and in every deployment.';
COMMENT ON COLUMN vehicles.provider IS 'Slug of the provider: niu, segway or invers.';
COMMENT ON COLUMN vehicles.provider_vehicle_id IS
    'The provider''s own id. NIU: sn or sn_id; Segway: iotCode; INVERS: vehicle_id, CloudBoxx: qnr.';
COMMENT ON COLUMN vehicles.lat IS
    'Latitude in degrees, as sent: WGS-84, except that NIU''s servers in mainland China send GCJ-02. NIU: postion.lat; Segway: latitude; INVERS: position.lat.';
COMMENT ON COLUMN vehicles.lon IS
    'Longitude in degrees, as sent: WGS-84, except that NIU''s servers in mainland China send GCJ-02. NIU: postion.lng; Segway: longitude; INVERS: position.lon.';
COMMENT ON COLUMN vehicles.altitude_m IS
    'Altitude in metres at the position. Providers do not say above what. Segway: altitude; INVERS: altitude_in_meters.';
COMMENT ON COLUMN vehicles.heading_deg IS
    'Heading in degrees clockwise from north at the position, if the provider sends a field heading.';
COMMENT ON COLUMN vehicles.accuracy_m IS
    'Radius of uncertainty of the position in metres, if the provider sends a field accuracy.';
COMMENT ON COLUMN vehicles.position_at IS
    'When the position was observed. NIU: gpsTimestamp; Segway: gpsUtcTime; INVERS: the timestamp of position.';
COMMENT ON COLUMN vehicles.position_received_at IS
    'When the position was received; the last three digits are the event''s place in its webhook. NULL if it was stored before this column existed.';
COMMENT ON COLUMN vehicles.speed_kmh IS
    'Speed in kilometres per hour. NIU: nowSpeed; Segway: speed; INVERS CloudBoxx: speed.';
COMMENT ON COLUMN vehicles.speed_at IS 'When the speed was observed.';
COMMENT ON COLUMN vehicles.speed_received_at IS
    'When the speed was received; the last three digits are the event''s place in its webhook. NULL if it was stored before this column existed.';
COMMENT ON COLUMN vehicles.battery_percent IS
    'Charge of the traction battery or fuel level in percent, 0 to 100. NIU: mean of the connected batteries'' batteryCharging; Segway: powerPercent; INVERS: state_of_charge_or_fuel_level_in_percent or fuel_level_in_percent, CloudBoxx: fuel_level.';
COMMENT ON COLUMN vehicles.battery_at IS 'When the charge or fuel level was observed.';
COMMENT ON COLUMN vehicles.battery_received_at IS
    'When the charge or fuel level was received; the last three digits are the event''s place in its webhook. NULL if it was stored before this column existed.';
COMMENT ON COLUMN vehicles.range_m IS
    'Remaining range in metres. NIU: estimatedMileage; Segway: remainingRange; INVERS: remaining_range_in_kilometers, CloudBoxx: electric_vehicle_state.cruising_range.';
COMMENT ON COLUMN vehicles.range_at IS 'When the range was observed.';
COMMENT ON COLUMN vehicles.range_received_at IS
    'When the range was received; the last three digits are the event''s place in its webhook. NULL if it was stored before this column existed.';
COMMENT ON COLUMN vehicles.odometer_m IS
    'Total distance driven in metres. NIU: totalMileage; Segway: odometer; INVERS: mileage_in_kilometers, CloudBoxx: mileage.';
COMMENT ON COLUMN vehicles.odometer_at IS 'When the total distance was observed.';
COMMENT ON COLUMN vehicles.odometer_received_at IS
    'When the total distance was received; the last three digits are the event''s place in its webhook. NULL if it was stored before this column existed.';
COMMENT ON COLUMN vehicles.powered_on IS
    'The vehicle''s electronics or ignition are on. NIU: isAccOn; INVERS: ignition. Segway does not send it.';
COMMENT ON COLUMN vehicles.powered_on_at IS 'When powered_on was observed.';
COMMENT ON COLUMN vehicles.powered_on_received_at IS
    'When powered_on was received; the last three digits are the event''s place in its webhook. NULL if it was stored before this column existed.';
COMMENT ON COLUMN vehicles.locked IS
    'The vehicle is locked, or its alarm is armed. NIU: isFortificationOn; Segway: locked; INVERS: central_lock.';
COMMENT ON COLUMN vehicles.locked_at IS 'When locked was observed.';
COMMENT ON COLUMN vehicles.locked_received_at IS
    'When locked was received; the last three digits are the event''s place in its webhook. NULL if it was stored before this column existed.';
COMMENT ON COLUMN vehicles.charging IS
    'The traction battery is charging. NIU: isCharging; Segway: charging; INVERS CloudBoxx: electric_vehicle_state.charge.';
COMMENT ON COLUMN vehicles.charging_at IS 'When charging was observed.';
COMMENT ON COLUMN vehicles.charging_received_at IS
    'When charging was received; the last three digits are the event''s place in its webhook. NULL if it was stored before this column existed.';
COMMENT ON COLUMN vehicles.online IS
    'The vehicle has a connection to its provider. NIU: ss_online_sta or isConnected; Segway: online; INVERS: life_status of VehicleChanged.';
COMMENT ON COLUMN vehicles.online_at IS 'When online was observed.';
COMMENT ON COLUMN vehicles.online_received_at IS
    'When online was received; the last three digits are the event''s place in its webhook. NULL if it was stored before this column existed.';
COMMENT ON COLUMN vehicles.first_seen_at IS 'When the first webhook about the vehicle was received.';
COMMENT ON COLUMN vehicles.last_seen_at IS 'When the last webhook about the vehicle was received.';
COMMENT ON COLUMN vehicles.clock_skewed_at IS
    'When the last event was received that had a time that is impossible or unreadable. Another time was used instead: the event''s, or the time of receipt.';

COMMENT ON VIEW vehicle_positions IS
    'For backend developers: the position and state of every vehicle. lat, lon and position_at are NULL until the first fix. The columns are those of vehicles.';
COMMENT ON COLUMN vehicle_positions.provider IS 'See vehicles.provider.';
COMMENT ON COLUMN vehicle_positions.provider_vehicle_id IS 'See vehicles.provider_vehicle_id.';
COMMENT ON COLUMN vehicle_positions.vehicle_id IS 'See vehicles.vehicle_id.';
COMMENT ON COLUMN vehicle_positions.lat IS 'See vehicles.lat.';
COMMENT ON COLUMN vehicle_positions.lon IS 'See vehicles.lon.';
COMMENT ON COLUMN vehicle_positions.position_at IS 'See vehicles.position_at.';
COMMENT ON COLUMN vehicle_positions.position_age IS 'Interval since the position was observed.';
COMMENT ON COLUMN vehicle_positions.battery_percent IS 'See vehicles.battery_percent.';
COMMENT ON COLUMN vehicle_positions.range_m IS 'See vehicles.range_m.';
COMMENT ON COLUMN vehicle_positions.odometer_m IS 'See vehicles.odometer_m.';
COMMENT ON COLUMN vehicle_positions.powered_on IS 'See vehicles.powered_on.';
COMMENT ON COLUMN vehicle_positions.locked IS 'See vehicles.locked.';
COMMENT ON COLUMN vehicle_positions.charging IS 'See vehicles.charging.';
COMMENT ON COLUMN vehicle_positions.online IS 'See vehicles.online.';
COMMENT ON COLUMN vehicle_positions.last_seen_at IS 'See vehicles.last_seen_at.';

COMMENT ON TABLE settled_state_batches IS
    'Parts of queue batches whose vehicles are stored in vehicles. A part is committed together with its vehicles. The consumer does not write a stored part again.';
COMMENT ON COLUMN settled_state_batches.lease_id IS 'Id of the batch''s lease in the queue.';
COMMENT ON COLUMN settled_state_batches.first_record IS 'Index of the part''s first record in the batch.';
COMMENT ON COLUMN settled_state_batches.records IS 'Number of records in the part. A record is an event, or a message without events.';
COMMENT ON COLUMN settled_state_batches.provider IS 'Slug of the provider.';
COMMENT ON COLUMN settled_state_batches.vehicles IS 'Number of vehicles that the part wrote.';
COMMENT ON COLUMN settled_state_batches.settled_at IS 'When the part was committed.';

COMMENT ON TABLE queue_witnesses IS
    'What the consumers last saw of each queue in Redis. It shows whether Redis has lost acknowledged webhooks.';
COMMENT ON COLUMN queue_witnesses.queue IS 'Name of the queue with its key prefix, such as fleet:{niu}.';
COMMENT ON COLUMN queue_witnesses.look IS 'Number of the last observation. Redis counts the observations.';
COMMENT ON COLUMN queue_witnesses.looked_at IS 'When a consumer last observed the queue.';
COMMENT ON COLUMN queue_witnesses.accepted IS 'Messages that the queue has ever accepted, according to the ledger in Redis.';
COMMENT ON COLUMN queue_witnesses.settled IS 'Messages that were ever settled, according to the ledger in Redis.';
COMMENT ON COLUMN queue_witnesses.missing IS
    'Upper bound of the accepted messages that Redis has lost before they were settled. It counts messages that were accepted at the last observation before each loss. fleet-consumer accept-loss resets it to 0.';
COMMENT ON COLUMN queue_witnesses.missing_since IS
    'When the queue was last observed without a loss. NULL if no messages are missing.';

COMMENT ON TYPE vehicle_state IS 'A row that consumers up to state V3 write: see the columns of vehicles.';
COMMENT ON TYPE received_vehicle_state IS 'A row that consumers of state V4 and V5 write: see the columns of vehicles.';
