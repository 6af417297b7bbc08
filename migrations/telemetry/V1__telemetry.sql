-- Every raw event, what could not be stored, and which batches are already in here.

CREATE EXTENSION IF NOT EXISTS timescaledb;

CREATE TABLE telemetry (
    vehicle_id      uuid             NOT NULL,
    observed_at     timestamptz      NOT NULL,
    event_id        uuid             NOT NULL,
    received_at     timestamptz      NOT NULL,
    message_id      uuid             NOT NULL,
    provider        text             NOT NULL,
    topic           text             NOT NULL,
    kind            text             NOT NULL,
    lat             double precision,
    lon             double precision,
    speed_kmh       double precision,
    battery_percent double precision,
    raw             json             NOT NULL
);

SELECT create_hypertable('telemetry', by_range('observed_at', INTERVAL '1 day'), create_default_indexes => false);

-- The only index: it makes a repeated event a duplicate, and finds a vehicle's track.
CREATE UNIQUE INDEX telemetry_event ON telemetry (vehicle_id, observed_at DESC, event_id);

COMMENT ON TABLE telemetry IS 'Every event as the provider sent it, once. Partitioned by observed_at, a chunk a day.';
COMMENT ON COLUMN telemetry.vehicle_id IS 'As in vehicles: UUIDv5 over provider:provider_vehicle_id.';
COMMENT ON COLUMN telemetry.observed_at IS 'When the vehicle observed it; the time of receipt where the provider gives no usable time.';
COMMENT ON COLUMN telemetry.event_id IS 'The same for every repetition of the event.';
COMMENT ON COLUMN telemetry.received_at IS 'When the webhook was received.';
COMMENT ON COLUMN telemetry.message_id IS 'The webhook; the provider got it as x-request-id.';
COMMENT ON COLUMN telemetry.provider IS 'Slug of the provider.';
COMMENT ON COLUMN telemetry.topic IS 'Path of the webhook below the provider''s route.';
COMMENT ON COLUMN telemetry.kind IS 'Type of event, in the provider''s words.';
COMMENT ON COLUMN telemetry.lat IS 'Degrees, if the event carries a position.';
COMMENT ON COLUMN telemetry.lon IS 'Degrees, if the event carries a position.';
COMMENT ON COLUMN telemetry.speed_kmh IS 'Kilometres an hour, if the event carries a speed.';
COMMENT ON COLUMN telemetry.battery_percent IS '0 to 100, if the event carries a charge.';
COMMENT ON COLUMN telemetry.raw IS 'The event alone; a Segway form as an object of its strings.';

CREATE TABLE dead_letters (
    message_id    uuid        NOT NULL,
    event_index   integer     NOT NULL,
    provider      text        NOT NULL,
    reason        text        NOT NULL,
    detail        text        NOT NULL,
    attempts      integer     NOT NULL DEFAULT 1,
    received_at   timestamptz,
    first_dead_at timestamptz NOT NULL DEFAULT now(),
    last_dead_at  timestamptz NOT NULL DEFAULT now(),
    envelope      bytea       NOT NULL,
    PRIMARY KEY (message_id, event_index)
);
CREATE INDEX dead_letters_last_dead_at ON dead_letters (last_dead_at);

COMMENT ON TABLE dead_letters IS 'Accepted messages, or single events of them, that could not be stored.';
COMMENT ON COLUMN dead_letters.message_id IS 'The webhook; derived from the bytes if they hold no id.';
COMMENT ON COLUMN dead_letters.event_index IS 'Which event of the message, from 0; -1 for the whole message.';
COMMENT ON COLUMN dead_letters.provider IS 'Slug of the provider.';
COMMENT ON COLUMN dead_letters.reason IS 'Why, from a closed list.';
COMMENT ON COLUMN dead_letters.detail IS 'Why, for people; ASCII only.';
COMMENT ON COLUMN dead_letters.attempts IS 'How often it was tried.';
COMMENT ON COLUMN dead_letters.received_at IS 'When the webhook was received, if the envelope says so.';
COMMENT ON COLUMN dead_letters.first_dead_at IS 'When it first became a dead letter.';
COMMENT ON COLUMN dead_letters.last_dead_at IS 'When it last became a dead letter.';
COMMENT ON COLUMN dead_letters.envelope IS 'The queue''s item: a header line, a newline, the body. Read it with encode(envelope, ''escape'').';

CREATE TABLE settled_batches (
    lease_id      uuid        NOT NULL,
    first_record  integer     NOT NULL,
    records       integer     NOT NULL,
    provider      text        NOT NULL,
    inserted      integer     NOT NULL,
    duplicate     integer     NOT NULL,
    dead_lettered integer     NOT NULL,
    settled_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (lease_id, first_record, records),
    CHECK (records = inserted + duplicate + dead_lettered)
);

COMMENT ON TABLE settled_batches IS
    'Parts of queue batches whose events are in telemetry or dead_letters; committed with them. A batch whose parts are all here is not written again.';
COMMENT ON COLUMN settled_batches.lease_id IS 'The batch''s id in the queue.';
COMMENT ON COLUMN settled_batches.first_record IS 'Index of the part''s first record in the batch.';
COMMENT ON COLUMN settled_batches.records IS 'Events, and messages without any, in the part.';
COMMENT ON COLUMN settled_batches.provider IS 'Slug of the provider.';
COMMENT ON COLUMN settled_batches.inserted IS 'Records that became rows of telemetry.';
COMMENT ON COLUMN settled_batches.duplicate IS 'Records that were in telemetry already.';
COMMENT ON COLUMN settled_batches.dead_lettered IS 'Records that became dead letters.';
COMMENT ON COLUMN settled_batches.settled_at IS 'When the part was committed.';
