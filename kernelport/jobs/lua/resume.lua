-- Makes what is not done of a job that is over wait again.
-- ARGV: job, deadline (microseconds, 0 for none), the most items of a slice.
-- Returns {'ok'}, {'missing'} or {'state', its state}.
local job, most = ARGV[1], tonumber(ARGV[3])
local found = fields(job, 'state', 'deployment', 'pages', 'items', 'succeeded', 'total_cost', 'request_key', 'started')
local state = found[1]
if not state then return {'missing'} end
if state ~= 'failed' and state ~= 'cancelled' and state ~= 'expired' then return {'state', state} end
redis.call('PERSIST', job_key(job))
for _, part in ipairs(JOB_PARTS) do redis.call('PERSIST', job_key(job, part)) end
if found[7] ~= '' then redis.call('PERSIST', found[7]) end
redis.call('ZREM', EXPIRING, job)
redis.call('UNLINK', job_key(job, 'ready'))
local each = math.max(1, tonumber(found[6] or 0) / math.max(1, tonumber(found[4])))
for page = 0, tonumber(found[3]) - 1 do
  local states = string.gsub(redis.call('HGET', job_key(job, 'states'), page), 'f', 'w')
  redis.call('HSET', job_key(job, 'states'), page, states)
  local first = string.find(states, 'w', 1, true)
  while first do
    local part = string.sub(states, first, first + most - 1)
    local _, waiting = string.gsub(part, 'w', '')
    redis.call('RPUSH', job_key(job, 'ready'), cjson.encode({page, first - 1, #part, math.ceil(each * waiting)}))
    first = string.find(states, 'w', first + #part, true)
  end
end
redis.call('HSET', job_key(job), 'ending', '', 'reason', '', 'failed', 0, 'finish_tries', 0, 'deadline', ARGV[2], 'finished', 0,
  'expires', 0, 'waiting_cost', whole(each * (found[4] - found[5])))
redis.call('ZADD', active_key(found[2]), redis.call('GET', clock_key(found[2])) or 0, job)
set_state(job, found[8] and 'running' or 'pending')
settle(job)
return {'ok'}
