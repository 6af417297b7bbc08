#!lua flags=no-writes,allow-oom
-- Searches a message in a part of a list. Parts go from the tail to the head: after claims and pushes in between, the next
-- part overlaps this one, and no item is skipped.
--
-- KEYS  list of envelopes
-- ARGV  message id, items after the part, most items, most bytes
-- Returns {index of the message or -1, number of items, items after the next part}.
local list, id, behind = KEYS[1], ARGV[1], tonumber(ARGV[2])
local most_items, most_bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
local length, read, stop, piece = redis.call('LLEN', list), 0, behind + most_items, 16

while behind < length and behind < stop and read < most_bytes do
  local last = length - behind
  local first, bytes = math.max(0, last - piece), 0
  for offset, item in ipairs(redis.call('LRANGE', list, first, last - 1)) do
    bytes = bytes + #item
    if string.match(item, '^%d+ (%S+) ') == id then return {first + offset - 1, length, behind} end
  end
  behind, read = length - first, read + bytes
  -- A seek in a long list takes time, and a large piece takes memory. Pieces therefore grow while they are small.
  piece = bytes > 262144 and 16 or math.min(128, piece * 2)
end
return {-1, length, behind}
