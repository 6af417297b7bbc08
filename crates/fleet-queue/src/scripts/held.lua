#!lua flags=no-writes
-- Counts the messages of every claimed batch. What has a wrong type counts as empty.
--
-- KEYS  owners, ledger
-- ARGV  what the names of lease lists begin with
-- Returns {messages in the lists of all owners, messages that the ledger says are claimed and not settled, the first ten
-- names of such a list that are those of something else}.
local owners, ledger = KEYS[1], KEYS[2]

-- The reply, or `otherwise` for a key of a wrong type.
local function read(otherwise, ...)
  local reply = redis.pcall(...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  if string.match(reply.err, '^%-?WRONGTYPE ') then return otherwise end
  error(reply)
end

local messages, broken = 0, {}
for _, id in ipairs(read({}, 'HKEYS', owners)) do
  local length = read(false, 'LLEN', ARGV[1] .. id)
  if length then
    messages = messages + length
  elseif #broken < 10 then
    table.insert(broken, ARGV[1] .. id)
  end
end
local counts = read({}, 'HMGET', ledger, 'claimed_messages', 'settled_messages')
return {messages, math.max(0, (tonumber(counts[1]) or 0) - (tonumber(counts[2]) or 0)), broken}
