#!lua flags=allow-oom
-- Moves the head of the queue into a new lease.
--
-- KEYS  queue, lease, leases, owners, ledger
-- ARGV  lease id, token, most messages, most bytes, lease duration in ms, 'first' or 'again'
-- Returns {owner, message, ...}; {owner} for a batch that the caller must read from the lease; {} if the queue is empty, or if
-- there is no lease for 'again'; false if another consumer has taken the lease over.
--
-- A second call with the same id and token returns the same batch, because the reply to the first call may have been lost.
-- Only the first call makes a batch: if the lease was taken over and settled since, the databases would take a second batch
-- under its id for stored, and it would be lost.
local queue, lease, leases, owners, ledger = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local id, token = ARGV[1], ARGV[2]
local most_messages, most_bytes, duration_ms = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

-- A queue with fewer messages is moved one by one: the caller gets them without a second call.
local MANY = 64

local owner = redis.call('HGET', owners, id)
if owner then
  if string.match(owner, '^%S+') ~= token then return false end
  -- Changes nothing. WAIT, which may follow, asks about the last write of its connection, and this one is perhaps new.
  redis.call('HSET', owners, id, owner)
  local batch = redis.call('LRANGE', lease, 0, -1)
  table.insert(batch, 1, owner)
  return batch
end
if ARGV[6] ~= 'first' then return {} end

-- Redis does not roll back a failed script. Fail before the first write if one of these keys has the wrong type.
local waiting = redis.call('LLEN', queue)
redis.call('ZCARD', leases)
if waiting == 0 then return {} end

-- A piece of the queue as a list of its own, in place of the lease. A sort that compares nothing copies messages within Redis.
local function copy(first, messages)
  return redis.pcall('SORT', queue, 'BY', 'nosort', 'LIMIT', first, messages, 'STORE', lease)
end

-- How many messages may be moved together: as many as fit, measured in pieces, so that large ones are not copied by the
-- thousand. 0 if none fits, or if the users file of an earlier release lacks a permission.
local function fitting()
  local fit, bytes, piece = 0, 0, MANY
  local most = math.min(waiting, most_messages)
  while fit < most and piece >= 1 do
    local messages = math.min(piece, most - fit)
    if copy(fit, messages) ~= messages then return 0 end
    local memory = redis.pcall('MEMORY', 'USAGE', lease, 'SAMPLES', 0)
    if type(memory) ~= 'number' then return 0 end
    if bytes + memory <= most_bytes then
      fit, bytes = fit + messages, bytes + memory
    else
      -- Large messages: fill the rest with smaller pieces.
      piece = math.floor(messages / 2)
    end
  end
  -- Changes nothing, but shows whether the queue may be trimmed.
  local trimmed = redis.pcall('LTRIM', queue, 0, -1)
  if trimmed.err then return 0 end
  return fit
end

-- Moves many messages. They do not pass through this script, which would hash each byte of them, and the append-only file
-- contains one command for 64 of them. Returns how many were moved.
local function move_together()
  if waiting < MANY or most_messages < MANY then return 0 end
  local messages = fitting()
  if messages == 0 or copy(0, messages) ~= messages then
    redis.call('UNLINK', lease)
    return 0
  end
  redis.call('LTRIM', queue, messages, -1)
  return messages
end

-- Moves messages one by one. Returns them, and their bytes.
local function move_singly()
  local batch, messages, bytes = {}, 0, 0
  while messages < most_messages do
    local message = redis.call('LMOVE', queue, lease, 'LEFT', 'RIGHT')
    if not message then break end
    if messages > 0 and bytes + #message > most_bytes then
      -- One too many: move it back. The script is atomic, so no other client sees the move.
      redis.call('LMOVE', lease, queue, 'RIGHT', 'LEFT')
      break
    end
    messages = messages + 1
    bytes = bytes + #message
    batch[messages + 1] = message
  end
  return batch, messages, bytes
end

-- The bytes of messages that are moved together are not known yet. The ack counts them, or a takeover.
local batch, messages, bytes = {}, move_together(), 0
if messages == 0 then batch, messages, bytes = move_singly() end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
-- A new batch is marked, because its owner starts parsing at once.
owner = token .. ' 0 ' .. bytes .. ' parsing'
redis.call('ZADD', leases, now_ms + duration_ms, id)
redis.call('HSET', owners, id, owner)
-- A ledger with the wrong type must not stop batches. Observer::status reports it.
redis.pcall('HINCRBY', ledger, 'claimed_messages', messages)
redis.pcall('HINCRBY', ledger, 'claimed_bytes', bytes)
batch[1] = owner
return batch
