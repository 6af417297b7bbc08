#!lua flags=allow-oom
-- Takes over an expired lease, or a parked batch that is due, with its messages. No message goes back to the queue. A second
-- call with the same token returns the same batch, because the reply to the first call may have been lost.
--
-- KEYS  lease, leases, parked, owners, ledger
-- ARGV  lease id, token, lease duration in ms
-- Returns {owner, message, ...}; false if it is not due, or no longer exists; the error WRONGTYPE if the batch's key is not a
-- list. Such a batch is postponed by the duration of a lease, so that the batches after it do not wait for its repair.
local lease, leases, parked, owners, ledger = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local id, token, duration_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
-- Redis does not roll back a failed script. Fail before the first write if one of these keys has the wrong type.
redis.call('ZCARD', leases)
redis.call('ZCARD', parked)
local owner = redis.call('HGET', owners, id)
local batch = redis.pcall('LRANGE', lease, 0, -1)
if batch.err then
  if string.match(batch.err, '^%-?WRONGTYPE ') then
    redis.call('ZADD', leases, 'XX', 'GT', now_ms + duration_ms, id)
    redis.call('ZADD', parked, 'XX', 'GT', now_ms + duration_ms, id)
    return redis.error_reply('WRONGTYPE the key ' .. lease .. ' of a claimed batch is no list')
  end
  return batch
end
if #batch == 0 then
  -- There are no messages: Redis has lost the list, or an operator has removed it. What is left would block every other lease.
  redis.call('ZREM', leases, id)
  redis.call('ZREM', parked, id)
  if owner then redis.call('HDEL', owners, id) end
  return false
end
local function total_bytes()
  local bytes = 0
  for _, message in ipairs(batch) do bytes = bytes + #message end
  return bytes
end
if not string.match(owner or '', '^%S+ %d+ %d+ ') then
  -- Redis has lost the record, or another program has overwritten it. The messages still must be delivered.
  owner = '- 0 ' .. total_bytes() .. ' '
end
local held_by, takeovers, bytes, mark = string.match(owner, '^(%S+) (%d+) (%d+) (.*)$')
if held_by ~= token then
  local due_ms = tonumber(redis.call('ZSCORE', leases, id) or redis.call('ZSCORE', parked, id))
  if not due_ms or due_ms > now_ms then return false end
  -- Count only a death under a mark against the batch, not an outage or a deployment.
  if mark == '' then mark = 'parsing' else takeovers = takeovers + 1 end
  if bytes == '0' then
    -- The claim did not know them. A ledger with the wrong type must not stop batches.
    bytes = total_bytes()
    redis.pcall('HINCRBY', ledger, 'claimed_bytes', bytes)
  end
  owner = token .. ' ' .. takeovers .. ' ' .. bytes .. ' ' .. mark
  redis.call('HSET', owners, id, owner)
end
redis.call('ZREM', parked, id)
redis.call('ZADD', leases, now_ms + duration_ms, id)
table.insert(batch, 1, owner)
return batch
