-- Gives out a job whose webhook has something to be told, to one process at a time.
-- ARGV: how long it is given for (microseconds).  Returns a job, or false.
local now = now_us()
local job = redis.call('ZRANGE', HOOKS, '-inf', whole(now), 'BYSCORE', 'LIMIT', 0, 1)[1]
if not job then return false end
redis.call('ZADD', HOOKS, whole(now + ARGV[1]), job)
if redis.call('EXISTS', job_key(job)) == 1 then redis.call('HSET', job_key(job), 'telling', 1) end
return job
