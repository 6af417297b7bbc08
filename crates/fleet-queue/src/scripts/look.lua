#!lua flags=allow-oom
-- Reads the counters for a witness outside of Redis. It writes nothing, but does not have the flag `no-writes`: without it, a
-- replica refuses the script.
--
-- KEYS  ledger
-- Returns {accepted, settled, number of the last look, its ms, accepted at that time, claimed}; false for a field that
-- does not exist.
local fields = {'accepted_messages', 'settled_messages', 'look', 'looked_at_ms', 'looked_accepted', 'claimed_messages'}
return redis.call('HMGET', KEYS[1], unpack(fields))
