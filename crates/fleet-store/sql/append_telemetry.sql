INSERT INTO telemetry (vehicle_id, observed_at, event_id, received_at, message_id, provider, topic, kind,
                       lat, lon, speed_kmh, battery_percent, raw)
SELECT vehicle_id, observed_at, event_id, received_at, message_id, $13, topic, kind,
       lat, lon, speed_kmh, battery_percent, raw::json
  FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::timestamptz[], $5::uuid[], $6::text[], $7::text[],
              $8::float8[], $9::float8[], $10::float8[], $11::float8[], $12::text[])
       AS event (vehicle_id, observed_at, event_id, received_at, message_id, topic, kind,
                 lat, lon, speed_kmh, battery_percent, raw)
ON CONFLICT DO NOTHING
