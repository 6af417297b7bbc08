#!lua flags=allow-oom
-- Records what the owner is about to do with the batch; see Lease::mark.
--
-- KEYS  owners
-- ARGV  lease id, token, mark (empty: nothing that could crash it)
-- Returns 1, or 0 if the caller does not own the lease.
local owners = KEYS[1]
local id, token, mark = ARGV[1], ARGV[2], ARGV[3]

local owner = redis.call('HGET', owners, id)
if not owner then return 0 end
local held_by, takeovers, bytes = string.match(owner, '^(%S+) (%d+) (%d+) ')
if held_by ~= token then return 0 end
redis.call('HSET', owners, id, token .. ' ' .. takeovers .. ' ' .. bytes .. ' ' .. mark)
return 1
