#!lua flags=allow-oom
-- The owner's heartbeat.
--
-- KEYS  leases, owners
-- ARGV  lease id, token, lease duration in ms (0: the lease expires now)
-- Returns 1, or 0 if the caller does not own the lease.
local leases, owners = KEYS[1], KEYS[2]
local id, token, duration_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])

local owner = redis.call('HGET', owners, id)
if not owner or string.match(owner, '^%S+') ~= token then return 0 end
local time = redis.call('TIME')
-- XX: a heartbeat that arrives after its owner parked the batch must not put it back among the leases.
redis.call('ZADD', leases, 'XX', time[1] * 1000 + math.floor(time[2] / 1000) + duration_ms, id)
return 1
