-- ARGV: job.  Returns 0 when there is no such job.
local job = ARGV[1]
if redis.call('EXISTS', job_key(job)) == 0 then return 0 end
redis.call('HSET', job_key(job), 'sealed', '1')
settle(job)
return 1
