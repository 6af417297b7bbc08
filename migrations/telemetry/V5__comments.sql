-- The comments of all tables, columns and types that V1 to V4 create. Later migrations comment what they add.

COMMENT ON TABLE telemetry IS
    'Every event as the provider sent it, stored once. Partitioned by observed_at, one chunk a day.';
COMMENT ON COLUMN telemetry.vehicle_id IS 'As in vehicles: UUIDv5 of provider:provider_vehicle_id.';
COMMENT ON COLUMN telemetry.observed_at IS
    'When the vehicle observed the event. The time of receipt if the provider gives no usable time.';
COMMENT ON COLUMN telemetry.event_id IS 'Id of the event. Every repetition of the event has the same id.';
COMMENT ON COLUMN telemetry.received_at IS
    'When the webhook was received, to the millisecond. The last three digits are the event''s place in its webhook.';
COMMENT ON COLUMN telemetry.message_id IS 'Id of the webhook. The provider received it as x-request-id.';
COMMENT ON COLUMN telemetry.provider IS 'Slug of the provider: niu, segway or invers.';
COMMENT ON COLUMN telemetry.topic IS 'Path of the webhook below the provider''s route.';
COMMENT ON COLUMN telemetry.kind IS 'Type of the event as the provider names it.';
COMMENT ON COLUMN telemetry.lat IS 'Latitude in degrees. NULL if the event has no position.';
COMMENT ON COLUMN telemetry.lon IS 'Longitude in degrees. NULL if the event has no position.';
COMMENT ON COLUMN telemetry.speed_kmh IS 'Speed in kilometres per hour. NULL if the event has no speed.';
COMMENT ON COLUMN telemetry.battery_percent IS
    'Charge of the traction battery or fuel level in percent, 0 to 100. NULL if the event has neither.';
COMMENT ON COLUMN telemetry.raw IS
    'The event alone, as JSON. A Segway form is an object of strings. U+0000, unpaired surrogates and bytes that are not UTF-8 are replaced by U+FFFD.';

COMMENT ON TABLE dead_letters IS 'Accepted messages, or single events of them, that could not be stored.';
COMMENT ON COLUMN dead_letters.message_id IS
    'Id of the webhook. Derived from the bytes if the message has no readable id.';
COMMENT ON COLUMN dead_letters.event_index IS 'Index of the event in the message, from 0. -1 stands for the whole message.';
COMMENT ON COLUMN dead_letters.provider IS 'Slug of the provider.';
COMMENT ON COLUMN dead_letters.reason IS 'Why it could not be stored, from a closed list.';
COMMENT ON COLUMN dead_letters.detail IS 'Why it could not be stored, as text. ASCII only.';
COMMENT ON COLUMN dead_letters.attempts IS 'How often it was processed.';
COMMENT ON COLUMN dead_letters.received_at IS 'When the webhook was received. NULL if the envelope does not say.';
COMMENT ON COLUMN dead_letters.first_dead_at IS 'When it first became a dead letter.';
COMMENT ON COLUMN dead_letters.last_dead_at IS 'When it last became a dead letter.';
COMMENT ON COLUMN dead_letters.envelope IS 'The queue item, in rows that a release before telemetry V4 wrote.';
COMMENT ON COLUMN dead_letters.dead_message_id IS
    'Equal to message_id: the row of dead_messages with the queue item. NULL in rows that a release before telemetry V4 wrote.';

COMMENT ON TABLE dead_messages IS
    'The queue item of each message that has dead letters, stored once. Deleting its last dead letter deletes the row.';
COMMENT ON COLUMN dead_messages.message_id IS 'As in dead_letters.';
COMMENT ON COLUMN dead_messages.envelope IS
    'The queue item: a header line, a newline, the body. Read it with encode(envelope, ''escape'').';
COMMENT ON COLUMN dead_messages.last_dead_at IS 'When a dead letter of the message was last written.';

COMMENT ON TABLE settled_batches IS
    'Parts of queue batches whose events are stored in telemetry or dead_letters. A part is committed together with its events. The consumer does not write a stored part again.';
COMMENT ON COLUMN settled_batches.lease_id IS 'Id of the batch''s lease in the queue.';
COMMENT ON COLUMN settled_batches.first_record IS 'Index of the part''s first record in the batch.';
COMMENT ON COLUMN settled_batches.records IS 'Number of records in the part. A record is an event, or a message without events.';
COMMENT ON COLUMN settled_batches.provider IS 'Slug of the provider.';
COMMENT ON COLUMN settled_batches.inserted IS 'Records that became rows of telemetry.';
COMMENT ON COLUMN settled_batches.duplicate IS 'Records that were already in telemetry.';
COMMENT ON COLUMN settled_batches.dead_lettered IS 'Records that became dead letters.';
COMMENT ON COLUMN settled_batches.settled_at IS 'When the part was committed.';

COMMENT ON TABLE unstored_messages IS
    'For fleet-consumer trace: messages without events, and messages with an event that was already in telemetry. At most 1000 for each part of a batch. Kept for 7 days after the receipt.';
COMMENT ON COLUMN unstored_messages.message_id IS 'Id of the webhook. The provider received it as x-request-id.';
COMMENT ON COLUMN unstored_messages.provider IS 'Slug of the provider.';
COMMENT ON COLUMN unstored_messages.received_at IS 'When the webhook was received.';
COMMENT ON COLUMN unstored_messages.events IS
    'Number of its events in the stored part, without dead letters. 0 if the message has no events.';
COMMENT ON COLUMN unstored_messages.duplicates IS
    'How many of these events were already in telemetry, or twice in the part.';
COMMENT ON COLUMN unstored_messages.first_duplicate_vehicle_id IS
    'With the next two columns, the key of the telemetry row that the first duplicate conflicts with. If that row has the same message_id, the message was processed twice.';
COMMENT ON COLUMN unstored_messages.first_duplicate_observed_at IS 'See first_duplicate_vehicle_id.';
COMMENT ON COLUMN unstored_messages.first_duplicate_event_id IS 'See first_duplicate_vehicle_id.';
COMMENT ON COLUMN unstored_messages.noted_at IS 'When the row was written.';

COMMENT ON TYPE telemetry_row IS 'A row as the consumers write it: see the columns of telemetry.';
