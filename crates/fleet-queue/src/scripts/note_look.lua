#!lua flags=allow-oom
-- Records that a consumer has read the counters for a witness outside of Redis.
--
-- KEYS  ledger
-- ARGV  number of the previous look (0: none), now in ms since the epoch by the caller's clock
-- Returns {accepted, settled, number, ms, accepted, claimed} of this look; false if another consumer has recorded one since.
local ledger, last, now_ms = KEYS[1], tonumber(ARGV[1]), ARGV[2]

local fields = redis.call('HMGET', ledger, 'accepted_messages', 'settled_messages', 'look', 'claimed_messages')
local accepted, settled = tonumber(fields[1]) or 0, tonumber(fields[2]) or 0
if (tonumber(fields[3]) or 0) ~= last then return false end
-- Two commands, so that Redis logs a transaction: a fault that loses transactions then also loses the look.
redis.call('HSET', ledger, 'look', last + 1, 'looked_at_ms', now_ms)
redis.call('HSET', ledger, 'looked_accepted', accepted)
return {accepted, settled, last + 1, tonumber(now_ms), accepted, tonumber(fields[4]) or 0}
