-- What the consumers last saw of each queue in Redis. Redis loses a queue and its ledger together, and then agrees with
-- itself: only a memory elsewhere shows that something is gone.
CREATE TABLE queue_witnesses (
    queue         text        PRIMARY KEY,
    look          bigint      NOT NULL,
    looked_at     timestamptz NOT NULL,
    accepted      bigint      NOT NULL,
    settled       bigint      NOT NULL,
    missing       bigint      NOT NULL DEFAULT 0,
    missing_since timestamptz
);

COMMENT ON TABLE queue_witnesses IS
    'What the consumers last saw of each queue in Redis, to notice that Redis has forgotten accepted webhooks.';
COMMENT ON COLUMN queue_witnesses.queue IS 'Name of the queue with its key prefix, such as fleet:{niu}.';
COMMENT ON COLUMN queue_witnesses.look IS 'Number of the last look at it; looks are counted in Redis.';
COMMENT ON COLUMN queue_witnesses.looked_at IS 'When a consumer last looked.';
COMMENT ON COLUMN queue_witnesses.accepted IS 'Messages ever accepted, by the ledger in Redis.';
COMMENT ON COLUMN queue_witnesses.settled IS 'Messages ever settled, by the ledger in Redis.';
COMMENT ON COLUMN queue_witnesses.missing IS
    'Of the messages that had been accepted when a consumer last looked before a loss: how many Redis has forgotten before they were settled, at most; 0 again after fleet-consumer accept-loss.';
COMMENT ON COLUMN queue_witnesses.missing_since IS 'When the queue was last seen whole, if messages are missing.';
