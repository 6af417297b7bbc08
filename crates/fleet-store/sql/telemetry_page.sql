-- The next rows of a window after a key, in the order of the unique index: first the remaining rows of the key's
-- vehicle, then the next vehicles, up to $9. The page is limited by rows before other providers are left out, so that a
-- provider with few rows costs no more. It is then limited by the bytes of the raw events, but has at least one row.
-- chosen_rows is their number before that.
SELECT vehicle_id, observed_at, event_id, received_at, message_id, provider, topic,
       lat, lon, speed_kmh, battery_percent, raw, chosen_rows
  FROM (SELECT *, count(*) OVER () AS chosen_rows,
               sum(octet_length(raw)) OVER (ORDER BY vehicle_id, observed_at DESC, event_id
                                           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
          FROM (SELECT vehicle_id, observed_at, event_id, received_at, message_id, provider, topic,
                       lat, lon, speed_kmh, battery_percent,
                       CASE WHEN $8 IS NULL OR provider = $8 THEN raw::text END AS raw
                  FROM ((SELECT * FROM telemetry
                          WHERE vehicle_id = $1 AND observed_at <= $2 AND (observed_at < $2 OR event_id > $3)
                            AND observed_at >= $4 AND observed_at < $5
                          ORDER BY vehicle_id, observed_at DESC, event_id LIMIT $6)
                        UNION ALL
                        (SELECT * FROM telemetry
                          WHERE vehicle_id > $1 AND vehicle_id <= $9 AND observed_at >= $4 AND observed_at < $5
                          ORDER BY vehicle_id, observed_at DESC, event_id LIMIT $6)
                        ORDER BY vehicle_id, observed_at DESC, event_id LIMIT $6) AS next_rows) AS chosen) AS page
 WHERE coalesce(bytes_before, 0) < $7
 ORDER BY vehicle_id, observed_at DESC, event_id
