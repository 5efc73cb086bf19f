-- Gives out a job whose manifest is to be written, to one process at a time.
-- ARGV: how long it is given for, how long it must have been due (microseconds).  Returns a job, or false.
local now = now_us()
local job = redis.call('ZRANGE', FINISHING, '-inf', whole(now - ARGV[2]), 'BYSCORE', 'LIMIT', 0, 1)[1]
if not job then return false end
redis.call('ZADD', FINISHING, whole(now + ARGV[1]), job)
return job
