-- Notes why an open job got no further items.  ARGV: job, reason.
-- include common
local job = ARGV[1]
if stage_of(job) ~= 'open' then return end
redis.call('HDEL', job_key(job), 'reason')  -- behind a removal, a full Redis takes a write
redis.call('HSET', job_key(job), 'reason', ARGV[2])
