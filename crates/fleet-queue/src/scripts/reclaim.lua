#!lua flags=allow-oom
-- Finds batches that have an owner's record and no expiry, and makes them expire now, so that a consumer takes them over. A
-- repair of the append-only file may leave such batches.
--
-- KEYS  leases, parked, owners
-- Returns how many there were.
local leases, parked, owners = KEYS[1], KEYS[2], KEYS[3]

if redis.call('HLEN', owners) == redis.call('ZCARD', leases) + redis.call('ZCARD', parked) then return 0 end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local found = 0
for _, id in ipairs(redis.call('HKEYS', owners)) do
  if not redis.call('ZSCORE', leases, id) and not redis.call('ZSCORE', parked, id) then
    redis.call('ZADD', leases, now_ms, id)
    found = found + 1
  end
end
return found
