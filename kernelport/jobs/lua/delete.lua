-- Begins to delete a job that is over: its items are gone at once, its files after it; without files to delete all of
-- it is gone at once.
-- ARGV: job, `delete` or `expire`, 1 when its files are to be deleted.
-- Returns {'ok'}, {'kept'} when it is not to expire now, or {'refused', stage}.
-- include common
local job, verb = ARGV[1], ARGV[2]
local allowed, stage = may(job, verb)
if allowed == nil then
  if stage == 'gone' then
    release_voices(job)
    for _, index in ipairs({of_its_tenant(JOBS, job), EXPIRING_JOBS}) do redis.call('ZREM', index, job) end
  end
  return {'refused', stage}
end
if not allowed then
  if verb == 'expire' then redis.call('ZREM', EXPIRING_JOBS, job) end
  return {verb == 'expire' and 'kept' or 'ok'}
end
if verb == 'expire' then
  local found = fields(job, 'expires', 'finished', 'telling')
  local now, later = now_us(), tonumber(found[1] or 0)
  local next_try = redis.call('ZSCORE', JOB_HOOKS, job)
  -- It waits for its webhook to be told of its end, for as long as that is tried. A try that goes on ends soon.
  if next_try and now < tonumber(found[2] or 0) + HOOK_PATIENCE_US then
    later = math.max(found[3] and 0 or next_try, now) + 1000000
  end
  if later > now then
    redis.call('ZADD', EXPIRING_JOBS, whole(later), job)
    return {'kept'}
  end
end
begin_deleting(job, ARGV[3] == '1')
return {'ok'}
