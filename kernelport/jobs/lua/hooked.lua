-- Gives a job back that `hook` gave out.
-- ARGV: job, the number of the newest log entry when it was looked at,
--       in how long to look again (microseconds), 0 for when there is something new,
--       when the job had finished (microseconds), 0 when it had not.
-- include common
local job, seen, pause, finished = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
redis.call('HDEL', job_key(job), 'telling')
local found = fields(job, 'log_length', 'finished')
if tonumber(found[2] or 0) ~= tonumber(finished) then
  redis.call('ZADD', JOB_HOOKS, 'XX', whole(now_us()), job)  -- its end waits for no later try of an earlier event
elseif pause > 0 then
  redis.call('ZADD', JOB_HOOKS, 'XX', whole(now_us() + pause), job)
elseif (found[1] or seen) == seen then
  redis.call('ZREM', JOB_HOOKS, job)
else
  redis.call('ZADD', JOB_HOOKS, 'XX', whole(now_us()), job)
end
