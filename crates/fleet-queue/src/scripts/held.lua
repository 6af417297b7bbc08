#!lua flags=no-writes
-- Counts the messages of every claimed batch.
--
-- KEYS  owners, ledger
-- ARGV  what the names of lease lists begin with
-- Returns {messages in the lists of all owners, messages that the ledger says are claimed and not settled}.
local owners, ledger = KEYS[1], KEYS[2]

local messages = 0
for _, id in ipairs(redis.call('HKEYS', owners)) do
  messages = messages + redis.call('LLEN', ARGV[1] .. id)
end
local counts = redis.call('HMGET', ledger, 'claimed_messages', 'settled_messages')
return {messages, math.max(0, (tonumber(counts[1]) or 0) - (tonumber(counts[2]) or 0))}
