#!lua flags=no-writes,allow-oom
-- Counts the messages of all claimed batches. A key of the wrong type counts as empty.
--
-- KEYS  owners, ledger
-- ARGV  prefix of the names of lease lists
-- Returns {messages in the lists of all owners, messages that are claimed and not settled according to the ledger, the first
-- ten names of such lists whose key is not a list}.
local owners, ledger = KEYS[1], KEYS[2]

-- The reply, or `otherwise` for a key of the wrong type.
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
