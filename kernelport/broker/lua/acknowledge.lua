-- A delivered message is done.
-- KEYS: unacked, unacked index.  ARGV: a delivery tag.
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
