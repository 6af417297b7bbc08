#!lua flags=allow-oom
-- Makes an expired lease the caller's, batch and all. Nothing goes back to the queue. The same token again returns the
-- same batch: the reply to the first call may have been lost.
--
-- KEYS  lease, leases, owners
-- ARGV  lease id, token, lease duration in ms
-- Returns {owner, message, ...}; false if it has not expired, or is gone.
local lease, leases, owners = KEYS[1], KEYS[2], KEYS[3]
local id, token, duration_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])

local owner = redis.call('HGET', owners, id)
if not owner then
  -- Nobody's: left behind by a repair by hand, and in the way of every other lease.
  redis.call('ZREM', leases, id)
  return false
end
local held_by, takeovers, bytes, mark = string.match(owner, '^(%S+) (%d+) (%d+) (.*)$')
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
if held_by ~= token then
  local expiry_ms = tonumber(redis.call('ZSCORE', leases, id))
  if expiry_ms > now_ms then return false end
  -- Only a death under a mark speaks against the batch; an outage or a deploy does not.
  if mark == '' then mark = 'parsing' else takeovers = takeovers + 1 end
  owner = token .. ' ' .. takeovers .. ' ' .. bytes .. ' ' .. mark
  redis.call('HSET', owners, id, owner)
end
redis.call('ZADD', leases, now_ms + duration_ms, id)
local batch = redis.call('LRANGE', lease, 0, -1)
table.insert(batch, 1, owner)
return batch
