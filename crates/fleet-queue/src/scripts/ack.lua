#!lua flags=allow-oom
-- The batch is stored: forget it.
--
-- KEYS  lease, leases, owners, ledger
-- ARGV  lease id, token
-- Returns how many messages were settled: 0 if the caller does not own the lease (any more), so that neither
-- a second ack nor a zombie's counts anything.
local lease, leases, owners, ledger = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id, token = ARGV[1], ARGV[2]

local owner = redis.call('HGET', owners, id)
if not owner then return 0 end
local held_by, bytes = string.match(owner, '^(%S+) %d+ (%d+) ')
if held_by ~= token then return 0 end
local messages = redis.call('LLEN', lease)
-- Redis undoes nothing of a script that fails: if this key has a wrong type, that must show before anything is removed.
redis.call('ZCARD', leases)
redis.call('UNLINK', lease)
redis.call('ZREM', leases, id)
redis.call('HDEL', owners, id)
-- A batch that Redis has lost was claimed in a ledger that it has lost as well.
if messages == 0 then return 0 end
-- A ledger that cannot be counted in stops no batch: Observer::status reports it.
redis.pcall('HINCRBY', ledger, 'settled_messages', messages)
redis.pcall('HINCRBY', ledger, 'settled_bytes', bytes)
return messages
