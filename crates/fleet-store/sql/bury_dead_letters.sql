WITH buried AS (
    INSERT INTO dead_letters (message_id, event_index, provider, reason, detail, received_at, dead_message_id)
    SELECT message_id, event_index, $1, reason, detail, received_at, message_id
      FROM unnest($2::uuid[], $3::int4[], $4::text[], $5::text[], $6::timestamptz[])
           AS letter (message_id, event_index, reason, detail, received_at)
    ON CONFLICT (message_id, event_index) DO UPDATE
       SET attempts = dead_letters.attempts + 1,
           reason = excluded.reason,
           detail = excluded.detail,
           last_dead_at = now(),
           dead_message_id = excluded.dead_message_id,
           envelope = NULL
    RETURNING 1
)
-- The order of the two inserts is explained in store_telemetry.sql.
INSERT INTO dead_messages (message_id, envelope)
SELECT message_id, envelope
  FROM unnest($7::uuid[], $8::bytea[]) AS message (message_id, envelope)
 WHERE (SELECT count(*) FROM buried) > 0
ON CONFLICT (message_id) DO UPDATE SET last_dead_at = now()
