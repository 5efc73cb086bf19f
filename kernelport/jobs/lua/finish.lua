-- Makes a job final whose manifest is written, for it to be shrunk, or gives out again those items whose files were missing.
-- ARGV: job, its round, state ('running' to go on), reason, retention and grace (seconds), whether the finisher saw it
--       sealed ('1' or '0'), when it ended (microseconds).
-- Returns 1, or 0 when somebody was first, or it has been sealed since.
-- include common
local job, state, finished = ARGV[1], ARGV[3], tonumber(ARGV[8])
if not may(job, 'written') then
  redis.call('ZREM', FINISHING_JOBS, job)
  return 0
end
local found = fields(job, 'round', 'sealed', 'request_key', 'max_batch')
if (found[1] or '0') ~= ARGV[2] then return 0 end
if found[2] ~= ARGV[7] then
  redis.call('ZADD', FINISHING_JOBS, whole(now_us()), job)
  return 0
end
if state == 'running' then
  redis.call('ZREM', FINISHING_JOBS, job)
  redis.call('HSET', job_key(job), 'remade', 1)
  run_again(job, tonumber(found[4] or 32))
  return 1
end
redis.call('ZADD', FINISHING_JOBS, whole(finished), job)  -- once more, to be shrunk
redis.call('HINCRBY', JOB_STACK, 'ended', 1)
local expires = finished + ARGV[5] * 1000000
redis.call('HSET', job_key(job), 'ending', '', 'reason', ARGV[4], 'finished', whole(finished), 'expires', whole(expires))
set_state(job, state)
if state == 'succeeded' then release_voices(job) end  -- any other can be resumed
redis.call('ZADD', EXPIRING_JOBS, whole(expires), job)
local ttl_s = whole(ARGV[5] + ARGV[6])
redis.call('EXPIRE', job_key(job), ttl_s)
for _, part in ipairs(JOB_PARTS) do redis.call('EXPIRE', job_key(job, part), ttl_s) end
if found[3] and found[3] ~= '' then redis.call('EXPIRE', found[3], ttl_s) end
return 1
