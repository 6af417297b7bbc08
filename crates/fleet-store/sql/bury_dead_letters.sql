INSERT INTO dead_letters (message_id, event_index, provider, reason, detail, received_at, envelope)
SELECT message_id, event_index, $7, reason, detail, received_at, envelope
  FROM unnest($1::uuid[], $2::int4[], $3::text[], $4::text[], $5::timestamptz[], $6::bytea[])
       AS letter (message_id, event_index, reason, detail, received_at, envelope)
ON CONFLICT (message_id, event_index) DO UPDATE
   SET attempts = dead_letters.attempts + 1,
       reason = excluded.reason,
       detail = excluded.detail,
       last_dead_at = now()
