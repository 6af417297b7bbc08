#!lua flags=no-writes
-- The header line of each list's first item, with its newline and without the body.
--
-- KEYS  lists of envelopes
-- Returns {header, ...}: nil for a list that is empty, or whose first item has no header line.
local headers = {}
for index, list in ipairs(KEYS) do
  local item = redis.call('LINDEX', list, 0)
  headers[index] = item and string.match(item, '^[^\n]*\n') or false
end
return headers
