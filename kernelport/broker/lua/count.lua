-- What a worker must know of a batch before it runs it: the attempts at it, this one included (none when it is done),
-- and how many cancelled requests there are, of whatever batch.
-- keys attempts done CANCELLED

local function count(batch, attempt, ttl_s)
  local attempts, cancelled = attempts_key(batch), redis.call('ZCARD', CANCELLED)
  if redis.call('EXISTS', done_key(batch)) == 1 then return {{}, cancelled} end
  -- The same attempt again: the worker did not hear back, and repeats itself.
  if redis.call('LINDEX', attempts, -1) ~= attempt then redis.call('RPUSH', attempts, attempt) end
  redis.call('EXPIRE', attempts, ttl_s)
  return {redis.call('LRANGE', attempts, 0, -1), cancelled}
end
