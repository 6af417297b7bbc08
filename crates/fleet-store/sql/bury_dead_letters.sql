INSERT INTO dead_letters (message_id, event_index, provider, reason, detail, received_at, envelope)
SELECT message_id, event_index, $1, reason, detail, received_at, envelope
  FROM unnest($2::uuid[], $3::int4[], $4::text[], $5::text[], $6::timestamptz[], $7::bytea[])
       AS letter (message_id, event_index, reason, detail, received_at, envelope)
ON CONFLICT (message_id, event_index) DO UPDATE
   SET attempts = dead_letters.attempts + 1,
       reason = excluded.reason,
       detail = excluded.detail,
       last_dead_at = now()
