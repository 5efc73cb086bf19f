-- ARGV: job, deployment, creation (microseconds), key of the request id or '', digest of the spec,
--       JobSpec with all that is secret or large ('': it is there by now), fields and values of the job ...
-- Returns {job} of a new job, or {job, digest of its spec} of the one that has the request id. Version 0.1.0 kept the
-- digest of the whole request instead: then {job, false, digest of the request}.
-- include common
local job, deployment, created, request = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local known = request ~= '' and redis.call('HMGET', request, 'job', 'spec', 'digest')
if known and known[1] and redis.call('EXISTS', job_key(known[1])) == 1 then
  redis.call('UNLINK', job_key(job, 'spec'))
  return known
end
if ARGV[6] ~= '' then
  redis.call('SET', job_key(job, 'spec'), ARGV[6])
elseif redis.call('PERSIST', job_key(job, 'spec')) == 0 then
  return redis.error_reply('the spec of the job has expired')
end
if known then
  redis.call('UNLINK', request)
  redis.call('HSET', request, 'job', job, 'spec', ARGV[5])
end
redis.call('HSET', job_key(job), 'state', 'pending', 'ending', '', 'reason', '', 'sealed', '0', 'deployment', deployment,
  'created', created, 'request_key', request, 'items', 0, 'pages', 0, 'running', 0, 'succeeded', 0, 'failed', 0,
  'log_length', 0, 'waiting_cost', 0, unpack(ARGV, 7))
redis.call('ZADD', of_its_tenant(JOBS, job), created, job)
-- Before it has items, too: it may be left so, or be late.
be_active(deployment, job)
return {job}
