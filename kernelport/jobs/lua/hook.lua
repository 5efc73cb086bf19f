-- Gives out a job whose webhook has something to be told, to one process at a time.
-- ARGV: how long it is given for (microseconds).  Returns a job, or false.
-- include common
local job = lease(JOB_HOOKS, ARGV[1], 0)
if job and redis.call('EXISTS', job_key(job)) == 1 then redis.call('HSET', job_key(job), 'telling', 1) end
return job
