#!lua flags=allow-oom
-- Removes a batch that is stored.
--
-- KEYS  lease, leases, owners, ledger
-- ARGV  lease id, token, number of messages that the caller has stored, their bytes
-- Returns how many messages were settled. 0 if the caller does not own the lease, so that neither a second ack nor the ack
-- of a previous owner counts. 0 also if the batch has other messages than the caller has stored: the batch stays, and whoever
-- takes it over stores all of it. Earlier releases send neither number.
local lease, leases, owners, ledger = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id, token = ARGV[1], ARGV[2]

local owner = redis.call('HGET', owners, id)
if not owner then return 0 end
local held_by, bytes = string.match(owner, '^(%S+) %d+ (%d+) ')
if held_by ~= token then return 0 end
local messages = redis.call('LLEN', lease)
if messages > 0 and ARGV[3] and messages ~= tonumber(ARGV[3]) then return 0 end
-- Redis does not roll back a failed script. Fail before the first write if this key has the wrong type.
redis.call('ZCARD', leases)
redis.call('UNLINK', lease)
redis.call('ZREM', leases, id)
redis.call('HDEL', owners, id)
-- If Redis has lost the batch, it has also lost the ledger in which the batch was counted as claimed.
if messages == 0 then return 0 end
-- A ledger with the wrong type must not stop batches. Observer::status reports it.
if bytes == '0' and ARGV[4] then
  -- The claim did not know them.
  bytes = ARGV[4]
  redis.pcall('HINCRBY', ledger, 'claimed_bytes', bytes)
end
redis.pcall('HINCRBY', ledger, 'settled_messages', messages)
redis.pcall('HINCRBY', ledger, 'settled_bytes', bytes)
-- If the owner's record was lost, a takeover has made another one, and it is not known any more whether the bytes were counted.
local counts = redis.pcall('HMGET', ledger, 'claimed_bytes', 'settled_bytes')
local uncounted = counts.err and 0 or (tonumber(counts[2]) or 0) - (tonumber(counts[1]) or 0)
if uncounted > 0 then redis.pcall('HINCRBY', ledger, 'claimed_bytes', string.format('%.0f', uncounted)) end
return messages
