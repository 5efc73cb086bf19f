-- Makes a job final whose manifest is written.
-- ARGV: job, state, reason, unix time (microseconds), retention and grace (seconds).
-- Returns 1, or 0 when somebody was first.
local job, state, finished = ARGV[1], ARGV[2], tonumber(ARGV[4])
local found = fields(job, 'state', 'request_key')
redis.call('ZREM', FINISHING, job)
if found[1] ~= 'finishing' then return 0 end
local expires = finished + ARGV[5] * 1000000
redis.call('HSET', job_key(job), 'reason', ARGV[3], 'finished', whole(finished), 'expires', whole(expires))
set_state(job, state)
if state == 'succeeded' then release_voices(job) end  -- any other can be resumed
redis.call('ZADD', EXPIRING, whole(expires), job)
local ttl_s = whole(ARGV[5] + ARGV[6])
redis.call('EXPIRE', job_key(job), ttl_s)
for _, part in ipairs(JOB_PARTS) do redis.call('EXPIRE', job_key(job, part), ttl_s) end
if found[2] ~= '' then redis.call('EXPIRE', found[2], ttl_s) end
return 1
