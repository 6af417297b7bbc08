-- Messages of which telemetry and dead_letters say nothing, or not everything, for `fleet-consumer trace`.

CREATE TABLE unstored_messages (
    message_id                  uuid        PRIMARY KEY,
    provider                    text        NOT NULL,
    received_at                 timestamptz NOT NULL,
    events                      integer     NOT NULL,
    duplicates                  integer     NOT NULL,
    first_duplicate_vehicle_id  uuid,
    first_duplicate_observed_at timestamptz,
    first_duplicate_event_id    uuid,
    noted_at                    timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE unstored_messages IS
    'Messages without any event, and messages with an event that was in telemetry already; at most 1000 for each part of a batch. Kept for 7 days after the receipt.';
COMMENT ON COLUMN unstored_messages.message_id IS 'The webhook; the provider got it as x-request-id.';
COMMENT ON COLUMN unstored_messages.provider IS 'Slug of the provider.';
COMMENT ON COLUMN unstored_messages.received_at IS 'When the webhook was received.';
COMMENT ON COLUMN unstored_messages.events IS 'Its events in the part that was stored, without dead letters; 0 if it has no event.';
COMMENT ON COLUMN unstored_messages.duplicates IS 'How many of these were in telemetry already, or twice in the part.';
COMMENT ON COLUMN unstored_messages.first_duplicate_vehicle_id IS
    'With the next two columns the key of the row of telemetry that the first of these met. If that row is of the same message, the message was delivered again.';
COMMENT ON COLUMN unstored_messages.first_duplicate_observed_at IS 'See first_duplicate_vehicle_id.';
COMMENT ON COLUMN unstored_messages.first_duplicate_event_id IS 'See first_duplicate_vehicle_id.';
COMMENT ON COLUMN unstored_messages.noted_at IS 'When it was written.';

COMMENT ON COLUMN telemetry.received_at IS
    'When the webhook was received, in milliseconds; the three digits behind are the event''s place in it.';
COMMENT ON COLUMN telemetry.raw IS
    'The event alone; a Segway form as an object of its strings. U+0000, half of a surrogate pair and bytes that are no UTF-8 are U+FFFD.';
