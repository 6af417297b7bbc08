-- What the consumers last saw of each queue in Redis. Redis loses a queue and its ledger together, and then agrees with
-- itself: only a memory elsewhere shows that something is gone.
CREATE TABLE queue_witnesses (
    queue         text   PRIMARY KEY,
    looked_at_ms  bigint NOT NULL,
    accepted      bigint NOT NULL,
    settled       bigint NOT NULL,
    missing       bigint NOT NULL DEFAULT 0,
    missing_since timestamptz
);

COMMENT ON TABLE queue_witnesses IS
    'What the consumers last saw of each queue in Redis, to notice that Redis has forgotten accepted webhooks.';
COMMENT ON COLUMN queue_witnesses.queue IS 'Name of the queue with its key prefix, such as fleet:{niu}.';
COMMENT ON COLUMN queue_witnesses.looked_at_ms IS 'When a consumer last looked, milliseconds since the epoch.';
COMMENT ON COLUMN queue_witnesses.accepted IS 'Messages ever accepted, by the ledger in Redis.';
COMMENT ON COLUMN queue_witnesses.settled IS 'Messages ever settled, by the ledger in Redis.';
COMMENT ON COLUMN queue_witnesses.missing IS
    'Messages, at most, that were answered 200 and that Redis has forgotten before they were settled; 0 again after fleet-consumer accept-loss.';
COMMENT ON COLUMN queue_witnesses.missing_since IS 'When the queue was last seen whole, if messages are missing.';
