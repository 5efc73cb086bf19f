-- Notes that files of a job are deleted, and lets others go on; the job is gone when there were none.
-- ARGV: job, how many, why they cannot be deleted now ('' when they can), when to go on (microseconds from now).
-- include common
local job = ARGV[1]
if not may(job, 'swept') then
  redis.call('ZREM', DELETING_JOBS, job)
elseif ARGV[2] == '0' and ARGV[3] == '' then
  redis.call('UNLINK', job_key(job))
  for _, index in ipairs({of_its_tenant(JOBS, job), DELETING_JOBS}) do redis.call('ZREM', index, job) end
else
  add(job, 'deleted_files', tonumber(ARGV[2]))
  add(job, 'delete_tries', ARGV[3] == '' and 0 or 1)
  redis.call('HSET', job_key(job), 'reason', ARGV[3])
  redis.call('EXPIRE', job_key(job), DELETING_TTL_S)
  redis.call('ZADD', DELETING_JOBS, whole(now_us() + ARGV[4]), job)
end
