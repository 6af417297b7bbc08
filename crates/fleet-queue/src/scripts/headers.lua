#!lua flags=no-writes,allow-oom
-- The header line of each list's first item, with its newline and without the body.
--
-- KEYS  lists of envelopes
-- Returns {header, ...}: nil for a list that is empty, or whose first item has no header line; 0 for a key that is not a
-- list.
local headers = {}
for index, list in ipairs(KEYS) do
  local item = redis.pcall('LINDEX', list, 0)
  if type(item) == 'table' then
    if not string.match(item.err, '^%-?WRONGTYPE ') then return item end
    headers[index] = 0
  else
    headers[index] = item and string.match(item, '^[^\n]*\n') or false
  end
end
return headers
