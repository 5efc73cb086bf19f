-- Deletes a voice with its recording.
-- KEYS: voices, their recordings.  ARGV: name.
-- Returns the Voice that there was, or false.
local voice = redis.call('HGET', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
return voice
