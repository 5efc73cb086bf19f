-- Makes, changes or removes one record, unless somebody else has changed it meanwhile.
-- KEYS: hash of records, what counts the changes.  ARGV: field, its value as it was read ('' for none), the new value
-- ('' to remove it), 1 when there must be no record at all.
-- Returns 1, or 0 when it is not as it was read.
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
if ARGV[4] == '1' and redis.call('HLEN', KEYS[1]) > 0 then return 0 end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
redis.call('INCR', KEYS[2])
return 1
