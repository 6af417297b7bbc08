#!lua flags=no-writes,allow-oom
-- Finds a message by its time of receipt: items are nearly in the order of receipt.
--
-- KEYS  list of envelopes
-- ARGV  message id, its time of receipt in ms, most items and most bytes to read on either side
-- Returns {index of the message or -1, number of items, 1 if all of them were read or 0}.
local list, id, received_ms = KEYS[1], ARGV[1], tonumber(ARGV[2])
local most_items, most_bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
local length = redis.call('LLEN', list)

-- Binary search for the first item that was received at that time or later.
local low, high = 0, length
while low < high do
  local middle = math.floor((low + high) / 2)
  local at = tonumber(string.match(redis.call('LINDEX', list, middle), '^%d+ %S+ (%d+) '))
  if at and at < received_ms then low = middle + 1 else high = middle end
end

-- Searches the items from `first` up to, but not including, `last`.
local function look(first, last)
  local bytes = 0
  for offset, item in ipairs(redis.call('LRANGE', list, first, last - 1)) do
    bytes = bytes + #item
    if string.match(item, '^%d+ (%S+) ') == id then return first + offset - 1, bytes end
  end
  return false, bytes
end

-- A seek in a long list takes time, and a large piece takes memory. Pieces therefore grow while they are small.
local function next_piece(piece, bytes)
  if bytes > 262144 then return 16 end
  return math.min(128, piece * 2)
end

local read, piece, after = 0, 16, low
while after < length and after - low < most_items and read < most_bytes do
  local last = math.min(length, after + piece)
  local found, bytes = look(after, last)
  if found then return {found, length, 0} end
  after, read, piece = last, read + bytes, next_piece(piece, bytes)
end
local read, piece, before = 0, 16, low
while before > 0 and low - before < most_items and read < most_bytes do
  local first = math.max(0, before - piece)
  local found, bytes = look(first, before)
  if found then return {found, length, 0} end
  before, read, piece = first, read + bytes, next_piece(piece, bytes)
end
return {-1, length, (after == length and before == 0) and 1 or 0}
