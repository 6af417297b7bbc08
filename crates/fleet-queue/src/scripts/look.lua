#!lua flags=allow-oom
-- Reads the counters for a witness outside of Redis. It writes nothing, and does not say so with `no-writes`: a replica
-- refuses it then, in the same moment in which it would be read.
--
-- KEYS  ledger
-- Returns {accepted, settled, number of the last look, its ms, accepted at that time, claimed}; false for what is not
-- there.
local fields = {'accepted_messages', 'settled_messages', 'look', 'looked_at_ms', 'looked_accepted', 'claimed_messages'}
return redis.call('HMGET', KEYS[1], unpack(fields))
