-- One statement, and so one transaction in one round trip: a part's events, its dead letters, and the memory of it.
WITH appended AS (
    INSERT INTO telemetry (vehicle_id, observed_at, event_id, received_at, message_id, provider, topic, kind,
                           lat, lon, speed_kmh, battery_percent, raw)
    SELECT vehicle_id, observed_at, event_id, received_at, message_id, $1::text, topic, kind,
           lat, lon, speed_kmh, battery_percent, raw
      FROM unnest($5::telemetry_row[])
    ON CONFLICT DO NOTHING
    RETURNING 1
),
buried AS (
    INSERT INTO dead_letters (message_id, event_index, provider, reason, detail, received_at, envelope)
    SELECT message_id, event_index, $1::text, reason, detail, received_at, envelope
      FROM unnest($6::uuid[], $7::int4[], $8::text[], $9::text[], $10::timestamptz[], $11::bytea[])
           AS letter (message_id, event_index, reason, detail, received_at, envelope)
    ON CONFLICT (message_id, event_index) DO UPDATE
       SET attempts = dead_letters.attempts + 1,
           reason = excluded.reason,
           detail = excluded.detail,
           last_dead_at = now()
),
counts AS (
    SELECT count(*)::int4 AS inserted FROM appended
),
settled AS (
    INSERT INTO settled_batches (lease_id, first_record, records, provider, inserted, duplicate, dead_lettered)
    SELECT $2::uuid, $3::int4, $4::int4, $1::text, inserted, $4::int4 - $12::int4 - inserted, $12::int4 FROM counts
    ON CONFLICT DO NOTHING
)
SELECT inserted FROM counts
