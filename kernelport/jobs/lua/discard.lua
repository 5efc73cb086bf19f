-- Takes back a job that got no items.  ARGV: job.  Returns 1, or 0 when it has some.
-- include common
local job = ARGV[1]
local found = fields(job, 'items', 'deployment', 'request_key')
if found[1] ~= '0' then return 0 end
redis.call('ZREM', active_jobs_key(found[2]), job)
redis.call('ZREM', JOBS, job)
redis.call('UNLINK', job_key(job), job_key(job, 'spec'), job_key(job, 'log'))
release_voices(job)
if found[3] ~= '' then redis.call('UNLINK', found[3]) end
return 1
