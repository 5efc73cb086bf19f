-- Puts a large response where `finish` finds it: copied there with others, it would keep Redis from everybody else.
-- KEYS: done, result hash.  ARGV: stage, response.
if redis.call('EXISTS', KEYS[1]) == 0 and redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('HSET', KEYS[2], 'response:' .. ARGV[1], ARGV[2])
end
