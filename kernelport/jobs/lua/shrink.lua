-- Puts parts of a job that is over in less room; the last time, what they stand for goes.
-- ARGV: job, its edition, part, how many buckets of ids it has in all when this is the last time, else 0,
--       fields of the part and their values ...
-- Returns 1, or 0 when the job goes on, has another edition, or is gone.
-- include common
local job, buckets = ARGV[1], tonumber(ARGV[4])
local found = fields(job, 'edition')
if not may(job, 'delete') or (found[1] or '0') ~= ARGV[2] then return 0 end
redis.call('HSET', job_key(job, ARGV[3]), unpack(ARGV, 5))
redis.call('EXPIRE', job_key(job, ARGV[3]), redis.call('TTL', job_key(job)))
if buckets > 0 then
  redis.call('UNLINK', job_key(job, 'ids'))
  redis.call('HSET', job_key(job), 'buckets', buckets)
  redis.call('ZREM', FINISHING_JOBS, job)
end
return 1
