-- Hands a piece of an answer to the front door that asked.
-- KEYS: done, progress, the list of replies.  ARGV: index of the piece, reply, TTL of progress, TTL of the list.
-- Returns 1; or 0, and nothing is done, when the batch is done.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[2], 'next', ARGV[1] + 1)
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('LPUSH', KEYS[3], ARGV[2])
redis.call('EXPIRE', KEYS[3], ARGV[4])
return 1
