-- The bytes of the messages that have dead letters, once each: a message of 1 MiB may have many dead letters.

CREATE TABLE dead_messages (
    message_id   uuid        PRIMARY KEY,
    envelope     bytea       NOT NULL,
    last_dead_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE dead_messages IS
    'The bytes of each message that has dead letters, once. A row goes with the last dead letter that refers to it.';
COMMENT ON COLUMN dead_messages.message_id IS 'As in dead_letters.';
COMMENT ON COLUMN dead_messages.envelope IS
    'The queue''s item: a header line, a newline, the body. Read it with encode(envelope, ''escape'').';
COMMENT ON COLUMN dead_messages.last_dead_at IS 'When a dead letter of it was last written.';

-- Consumers of the release before go on writing the bytes into dead_letters during an upgrade. Their rows stay as they are.
ALTER TABLE dead_letters ADD COLUMN dead_message_id uuid CONSTRAINT dead_letters_dead_message REFERENCES dead_messages;
ALTER TABLE dead_letters ALTER COLUMN envelope DROP NOT NULL;
-- Rows of before have an envelope: to read them all would only hold the lock for long.
ALTER TABLE dead_letters ADD CONSTRAINT dead_letters_bytes CHECK (num_nonnulls(dead_message_id, envelope) = 1) NOT VALID;

COMMENT ON COLUMN dead_letters.dead_message_id IS
    'The same as message_id: dead_messages has the bytes. Absent in rows that an older release has written.';
COMMENT ON COLUMN dead_letters.envelope IS 'The bytes, in rows that an older release has written.';

-- Whoever removes rows of dead_messages asks whether anything refers to them.
CREATE INDEX dead_letters_dead_message_id ON dead_letters (dead_message_id) WHERE dead_message_id IS NOT NULL;

-- Whoever deletes dead letters, also an older release or a person, deletes the bytes with the last one. The function has its
-- owner's rights, so that a role that may delete dead letters needs no right on the table of the bytes.
CREATE FUNCTION delete_dead_messages() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM dead_messages;
        RETURN NULL;
    END IF;
    -- This waits for a consumer that is adding a dead letter of one of these messages.
    PERFORM FROM dead_messages
      WHERE message_id IN (SELECT dead_message_id FROM deleted)
      ORDER BY message_id
        FOR UPDATE;
    -- A second statement has a newer snapshot: it sees the dead letter that the first one waited for.
    DELETE FROM dead_messages AS message
     WHERE message_id IN (SELECT dead_message_id FROM deleted)
       AND NOT EXISTS (SELECT FROM dead_letters WHERE dead_message_id = message.message_id);
    RETURN NULL;
END
$$;

-- The schema of the tables alone, whatever the caller's search_path is: nobody else may put a table or an operator in front.
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION delete_dead_messages() SET search_path = %I, pg_temp', current_schema());
END
$$;

-- Nobody but the owner may make it a trigger of another table.
REVOKE EXECUTE ON FUNCTION delete_dead_messages() FROM PUBLIC;

CREATE TRIGGER delete_dead_messages AFTER DELETE ON dead_letters
    REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION delete_dead_messages();

CREATE TRIGGER truncate_dead_messages AFTER TRUNCATE ON dead_letters
    FOR EACH STATEMENT EXECUTE FUNCTION delete_dead_messages();
