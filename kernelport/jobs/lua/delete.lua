-- Forgets a job that is over.  ARGV: job.  Returns 1, or 0 while it is active.
local job = ARGV[1]
local found = fields(job, 'state', 'request_key')
if is_active(found[1]) or found[1] == 'finishing' then return 0 end
redis.call('UNLINK', job_key(job))
for _, part in ipairs(JOB_PARTS) do redis.call('UNLINK', job_key(job, part)) end
release_voices(job)
if found[2] and found[2] ~= '' then redis.call('UNLINK', found[2]) end
for _, index in ipairs({'kp:jobs', EXPIRING, FINISHING, HOOKS}) do redis.call('ZREM', index, job) end
return 1
