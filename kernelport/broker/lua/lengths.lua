-- How long keys are.
-- KEYS: any.  ARGV: the command that tells the length of one.
-- Returns the place of each key that is not empty, and its length.
local found = {}
for i, key in ipairs(KEYS) do
  local length = redis.call(ARGV[1], key)
  if length > 0 then
    found[#found + 1] = i
    found[#found + 1] = length
  end
end
return found
