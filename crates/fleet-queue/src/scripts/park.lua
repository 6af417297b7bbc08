#!lua flags=allow-oom
-- Parks a batch: one database has stored it, and the other one is unavailable.
--
-- KEYS  leases, parked, owners
-- ARGV  lease id, token, mark to leave, ms from now until it is due
-- Returns 1, or 0 if the caller does not own the lease.
local leases, parked, owners = KEYS[1], KEYS[2], KEYS[3]
local id, token, mark, delay_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

local owner = redis.call('HGET', owners, id)
if not owner then return 0 end
local held_by, takeovers, bytes = string.match(owner, '^(%S+) (%d+) (%d+) ')
if held_by ~= token then return 0 end
-- Redis does not roll back a failed script. Fail before the first write if one of these keys has the wrong type.
redis.call('ZCARD', leases)
redis.call('ZCARD', parked)
local time = redis.call('TIME')
redis.call('HSET', owners, id, token .. ' ' .. takeovers .. ' ' .. bytes .. ' ' .. mark)
redis.call('ZREM', leases, id)
redis.call('ZADD', parked, time[1] * 1000 + math.floor(time[2] / 1000) + delay_ms, id)
return 1
