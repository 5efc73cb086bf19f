-- Makes, changes or removes a key, unless somebody has changed any key or tenant since.
-- KEYS: keys, tenants, what counts the changes of both.  ARGV: the count when it was decided ('' for none), the key's id,
-- its record ('' to remove it), the name of its tenant, and that one's record, where there is none of the name.
-- Returns 1, or 0 when there is another count by now.
if (redis.call('GET', KEYS[3]) or '') ~= ARGV[1] then return 0 end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[2])
else
  redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
  redis.call('HSETNX', KEYS[2], ARGV[4], ARGV[5])
end
redis.call('INCR', KEYS[3])
return 1
