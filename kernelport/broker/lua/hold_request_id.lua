-- Takes a request id for a call.
-- KEYS: result hash.  ARGV: digest of the request, id of the call, TTL in milliseconds.
-- Returns false when the caller is the first; else the digest, the response, and the key of one that has its own (false
-- while there is none).
if redis.call('HSETNX', KEYS[1], 'digest', ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], 'call', ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return false
end
return redis.call('HMGET', KEYS[1], 'digest', 'response', 'kept')
