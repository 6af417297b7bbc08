UPDATE telemetry AS stored
   SET lat = event.lat, lon = event.lon, speed_kmh = event.speed_kmh, battery_percent = event.battery_percent
  FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::float8[], $5::float8[], $6::float8[], $7::float8[])
       AS event (vehicle_id, observed_at, event_id, lat, lon, speed_kmh, battery_percent)
 WHERE stored.vehicle_id = event.vehicle_id
   -- In a compressed chunk, this reads only the segments of these vehicles.
   AND stored.vehicle_id = ANY($10)
   AND stored.observed_at = event.observed_at
   AND stored.event_id = event.event_id
   AND stored.observed_at >= $8 AND stored.observed_at <= $9
