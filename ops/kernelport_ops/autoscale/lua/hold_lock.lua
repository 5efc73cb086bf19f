-- Takes the lock of a fleet, or keeps it.
-- KEYS: lock, fence.  ARGV: own token or 0, TTL in milliseconds, TTL of the fence.
-- Returns the token held, or 0 when another holds the lock.
local held = redis.call('GET', KEYS[1])
if held then
  if held ~= ARGV[1] then return 0 end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return tonumber(held)
end
local token = redis.call('INCR', KEYS[2])
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('SET', KEYS[1], token, 'PX', ARGV[2])
return token
