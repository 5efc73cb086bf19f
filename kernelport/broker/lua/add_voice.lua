-- Adds a voice: both hashes change together, and a name is taken by one caller only.
-- KEYS: voices, their recordings.  ARGV: name, Voice, recording, how many voices there may be.
-- Returns 'added', 'taken' or 'full'.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return 'taken' end
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then return 'full' end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
return 'added'
