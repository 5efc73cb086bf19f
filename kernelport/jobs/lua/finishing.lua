-- Gives out a job whose manifest is to be written, to one process at a time.
-- ARGV: how long it is given for, how long it must have been due (microseconds), a token of this giving out.
-- Returns a job, or false.
local job = lease(FINISHING, ARGV[1], ARGV[2])
if job and redis.call('EXISTS', job_key(job)) == 1 then redis.call('HSET', job_key(job), 'finisher', ARGV[3]) end
return job
