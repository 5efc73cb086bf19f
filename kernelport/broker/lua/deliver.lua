-- What kombu does when it delivers a message: its tag and content are kept until it is acknowledged.
-- An entry without a tag is not kept: nobody can acknowledge it.
-- KEYS: unacked, unacked index.  ARGV: Unix time in seconds, what marks an entry as a batch, this attempt, its TTL.
-- Returns its count if it is a batch.
-- include count

local function deliver(list, entry)
  local tag = string.match(entry, '"delivery_tag": ?"([^"]+)"')
  if not tag then return nil end
  local queue = string.match(list, '^[^\6]+')
  redis.call('ZADD', KEYS[2], ARGV[1], tag)
  redis.call('HSET', KEYS[1], tag, '[' .. entry .. ', "", "' .. queue .. '"]')
  return string.find(entry, ARGV[2], 1, true) and count(tag, ARGV[3], ARGV[4]) or nil
end
