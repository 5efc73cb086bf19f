-- Writes what is known of machines, unless another autoscaler has the lock.
-- KEYS: lock, machines.  ARGV: token, TTL, how many records to write, name and record of each ..., names to drop ...
-- Answers with the error FENCED when the token is not the lock's.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return redis.error_reply('FENCED another autoscaler has the lock') end
local last = 3 + 2 * tonumber(ARGV[3])
for i = 4, last, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
for i = last + 1, #ARGV do redis.call('HDEL', KEYS[2], ARGV[i]) end
redis.call('EXPIRE', KEYS[2], ARGV[2])
