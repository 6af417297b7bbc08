#!lua flags=allow-oom
-- Moves the head of the queue into a new lease, or into one that this consumer has just claimed.
--
-- KEYS  queue, lease, leases, owners, ledger
-- ARGV  lease id, token, most messages, most bytes, lease duration in ms, 'first', 'again' or 'more'
-- Returns {owner, message, ...}; {} if the queue is empty, or if there is no lease for 'again' or 'more'; false if another
-- consumer has taken the lease over, and for 'more' also if the batch is parked. For 'more' it returns only the added messages.
--
-- A second call with the same id and token returns the same batch, because the reply to the first call may have been lost.
-- Only the first call makes a batch: if the lease was taken over and settled since, the databases would take a second batch
-- under its id for stored, and it would be lost.
local queue, lease, leases, owners, ledger = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local id, token = ARGV[1], ARGV[2]
local most_messages, most_bytes, duration_ms = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

local owner = redis.call('HGET', owners, id)
-- A call for more that arrives late must not revive a parked batch.
if owner and ARGV[6] == 'more' and not redis.call('ZSCORE', leases, id) then return false end
if owner and string.match(owner, '^%S+') ~= token then return false end
if owner and ARGV[6] ~= 'more' then
  -- Changes nothing. WAIT, which may follow, asks about the last write of its connection, and this one is perhaps new.
  redis.call('HSET', owners, id, owner)
  local batch = redis.call('LRANGE', lease, 0, -1)
  table.insert(batch, 1, owner)
  return batch
end
if not owner and ARGV[6] ~= 'first' then return {} end

-- Redis does not roll back a failed script. Fail before the first write if this key has the wrong type.
redis.call('ZCARD', leases)

local batch, messages, bytes = {}, 0, 0
while messages < most_messages do
  local message = redis.call('LMOVE', queue, lease, 'LEFT', 'RIGHT')
  if not message then break end
  if (messages > 0 or owner) and bytes + #message > most_bytes then
    -- One too many: move it back. The script is atomic, so no other client sees the move.
    redis.call('LMOVE', lease, queue, 'RIGHT', 'LEFT')
    break
  end
  messages = messages + 1
  bytes = bytes + #message
  batch[messages + 1] = message
end
if messages == 0 and not owner then return {} end
batch[1] = owner
if messages == 0 then return batch end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
-- A new batch is marked, because its owner starts parsing at once.
local before = owner and tonumber(string.match(owner, '^%S+ %S+ (%d+)')) or 0
owner = token .. ' 0 ' .. before + bytes .. ' parsing'
redis.call('ZADD', leases, now_ms + duration_ms, id)
redis.call('HSET', owners, id, owner)
-- A ledger with the wrong type must not stop batches. Observer::status reports it.
redis.pcall('HINCRBY', ledger, 'claimed_messages', messages)
redis.pcall('HINCRBY', ledger, 'claimed_bytes', bytes)
batch[1] = owner
return batch
