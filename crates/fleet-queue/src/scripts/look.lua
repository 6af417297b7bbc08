#!lua flags=allow-oom
-- Reads the counters for a witness outside of Redis, and remembers the look.
--
-- KEYS  ledger
-- ARGV  now, ms since the epoch, by the caller's clock
-- Returns {accepted, settled, ms of the look before or 0, accepted until then}.
local ledger, now_ms = KEYS[1], tonumber(ARGV[1])

local fields = redis.call('HMGET', ledger, 'accepted_messages', 'settled_messages', 'looked_at_ms', 'looked_accepted')
local found = {}
for index = 1, 4 do found[index] = tonumber(fields[index]) or 0 end
if now_ms > found[3] then
  -- Two commands, which are logged as a transaction: what loses transactions loses the look as well.
  redis.call('HSET', ledger, 'looked_at_ms', ARGV[1])
  redis.call('HSET', ledger, 'looked_accepted', found[1])
end
return found
