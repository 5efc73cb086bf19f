-- Gives the lock of a fleet up, if it is held.
-- KEYS: lock.  ARGV: own token.
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
