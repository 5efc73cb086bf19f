-- Makes what is not done of a job that is over wait again.
-- ARGV: job, deadline (microseconds, 0 for none), the most items of a slice, JSON of whose quotas they count against
--       [[holder, characters a day, bytes a day], ...].
-- Returns {'ok'}, {'refused', stage}, or {'quota', ...} as `may_use` has it.
-- include common
local job, most = ARGV[1], tonumber(ARGV[3])
local allowed, stage = may(job, 'resume')
if not allowed then return {'refused', stage} end
local refusal = count_again(job, cjson.decode(ARGV[4]))
if refusal then return refusal end
keep(job)
for page = 0, tonumber(fields(job, 'pages')[1]) - 1 do
  local states = string.gsub(redis.call('HGET', job_key(job, 'states'), page), 'f', 'w')
  redis.call('HSET', job_key(job, 'states'), page, states)
end
redis.call('HSET', job_key(job), 'ending', '', 'reason', '', 'failed', 0, 'finish_tries', 0, 'remade', 0, 'was_cancelled', 0,
  'max_batch', most, 'deadline', ARGV[2], 'finished', 0, 'expires', 0, 'resumed', whole(now_us()))
run_again(job, most)
return {'ok'}
