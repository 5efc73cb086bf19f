-- Begins to delete a job that is over: its items are gone at once, its files after it; without files to delete all of
-- it is gone at once.
-- ARGV: job, `delete` or `expire`, 1 when its files are to be deleted.
-- Returns {'ok'} or {'refused', stage}.
local job, verb = ARGV[1], ARGV[2]
local allowed, stage = may(job, verb)
if allowed == nil then
  if stage == 'gone' then
    release_voices(job)
    for _, index in ipairs({'kp:jobs', EXPIRING}) do redis.call('ZREM', index, job) end
  end
  return {'refused', stage}
end
if not allowed then
  if verb == 'expire' then redis.call('ZREM', EXPIRING, job) end
  return {'ok'}
end
local found = fields(job, 'request_key', 'expires')
-- Resumed meanwhile, and over again.
if verb == 'expire' and tonumber(found[2]) > now_us() then return {'ok'} end
for _, part in ipairs(JOB_PARTS) do redis.call('UNLINK', job_key(job, part)) end
release_voices(job)
for _, index in ipairs({EXPIRING, FINISHING, HOOKS}) do redis.call('ZREM', index, job) end
if found[1] and redis.call('HGET', found[1], 'job') == job then redis.call('UNLINK', found[1]) end
if ARGV[3] == '1' then
  redis.call('HSET', job_key(job), 'state', 'deleting', 'deleting_since', whole(now_us()), 'ending', '', 'reason', '')
  redis.call('EXPIRE', job_key(job), DELETING_TTL_S)
  redis.call('ZADD', DELETING, whole(now_us()), job)
else
  redis.call('UNLINK', job_key(job))
  redis.call('ZREM', 'kp:jobs', job)
end
return {'ok'}
