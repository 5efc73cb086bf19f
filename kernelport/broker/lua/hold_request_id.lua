-- Takes a request id for a call.
-- KEYS: result hash.  ARGV: digest of the request, id of the call, TTL in milliseconds.
-- Returns false when the caller is the first; else the digest and the response (false while there is none).
if redis.call('HSETNX', KEYS[1], 'digest', ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], 'call', ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return false
end
return redis.call('HMGET', KEYS[1], 'digest', redis.call('HGET', KEYS[1], 'kept') or 'response')
