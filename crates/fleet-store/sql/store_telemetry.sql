-- Stores the events and the dead letters of a part, and the part itself. One statement is one transaction and one
-- round trip.
WITH appended AS (
    INSERT INTO telemetry (vehicle_id, observed_at, event_id, received_at, message_id, provider, topic, kind,
                           lat, lon, speed_kmh, battery_percent, raw)
    SELECT vehicle_id, observed_at, event_id, received_at, message_id, $1::text, topic, kind,
           lat, lon, speed_kmh, battery_percent, raw
      FROM unnest($5::telemetry_row[])
     -- Evaluated once, before the first row. An event of a chunk that is being compressed or removed would wait for
     -- minutes. The consumer parks its batch instead.
     WHERE (SELECT set_config('lock_timeout', '500ms', true)) IS NOT NULL
    ON CONFLICT DO NOTHING
    RETURNING vehicle_id, observed_at, event_id
),
buried AS (
    INSERT INTO dead_letters (message_id, event_index, provider, reason, detail, received_at, dead_message_id)
    SELECT message_id, event_index, $1::text, reason, detail, received_at, message_id
      FROM unnest($6::uuid[], $7::int4[], $8::text[], $9::text[], $10::timestamptz[])
           AS letter (message_id, event_index, reason, detail, received_at)
    ON CONFLICT (message_id, event_index) DO UPDATE
       SET attempts = dead_letters.attempts + 1,
           reason = excluded.reason,
           detail = excluded.detail,
           last_dead_at = now(),
           dead_message_id = excluded.dead_message_id,
           -- A row that an older release wrote has its own copy, which is no longer needed.
           envelope = NULL
    RETURNING 1
),
-- The bytes of the dead letters' messages, once each. They are written after the dead letters, because a purge locks
-- both tables in this order. The foreign key is checked at the end of the statement. DO UPDATE locks an existing row
-- until this transaction ends. With DO NOTHING, a purge of the message's other dead letters could remove the row
-- before the check.
kept AS (
    INSERT INTO dead_messages (message_id, envelope)
    SELECT message_id, envelope
      FROM unnest($11::uuid[], $12::bytea[]) AS message (message_id, envelope)
     WHERE (SELECT count(*) FROM buried) > 0
    ON CONFLICT (message_id) DO UPDATE SET last_dead_at = now()
),
counts AS (
    SELECT count(*)::int4 AS inserted FROM appended
),
-- Messages with a duplicate, for `fleet-consumer trace`. The first condition is constant while the statement runs: if
-- no event is a duplicate, PostgreSQL evaluates none of this. Without the limit, a backlog that is sent again would
-- double the work.
noted AS (
    INSERT INTO unstored_messages (message_id, provider, received_at, events, duplicates, first_duplicate_vehicle_id,
                                   first_duplicate_observed_at, first_duplicate_event_id)
    SELECT message_id, $1::text, date_trunc('milliseconds', min(received_at)), count(*), count(*) FILTER (WHERE is_duplicate),
           (array_agg(vehicle_id ORDER BY received_at) FILTER (WHERE is_duplicate))[1],
           (array_agg(observed_at ORDER BY received_at) FILTER (WHERE is_duplicate))[1],
           (array_agg(event_id ORDER BY received_at) FILTER (WHERE is_duplicate))[1]
      FROM (SELECT event.message_id, event.received_at, vehicle_id, observed_at, event_id,
                   -- Of two equal events in one part, the first one becomes the row.
                   appended.vehicle_id IS NULL
                   OR row_number() OVER (PARTITION BY vehicle_id, observed_at, event_id ORDER BY place) > 1 AS is_duplicate
              FROM unnest($5::telemetry_row[]) WITH ORDINALITY
                   AS event (vehicle_id, observed_at, event_id, received_at, message_id, topic, kind,
                             lat, lon, speed_kmh, battery_percent, raw, place)
              LEFT JOIN appended USING (vehicle_id, observed_at, event_id)) AS events
     WHERE (SELECT inserted FROM counts) < cardinality($5::telemetry_row[])
     GROUP BY message_id
    HAVING bool_or(is_duplicate)
     -- Without this order, two consumers that write the same messages would deadlock.
     ORDER BY message_id
     LIMIT 1000
    ON CONFLICT DO NOTHING
),
settled AS (
    INSERT INTO settled_batches (lease_id, first_record, records, provider, inserted, duplicate, dead_lettered)
    SELECT $2::uuid, $3::int4, $4::int4, $1::text, inserted, $4::int4 - $13::int4 - inserted, $13::int4 FROM counts
    ON CONFLICT DO NOTHING
    RETURNING 1
)
-- If the part was stored before, its commit may have lost its wait for the synchronous standby. Without a write of its
-- own, this transaction would not wait either. The message goes to the log only, behind that commit.
SELECT inserted,
       CASE WHEN NOT EXISTS (SELECT FROM settled) THEN pg_logical_emit_message(true, 'fleet', ''::text) END
  FROM counts
