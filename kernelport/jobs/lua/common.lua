-- What the scripts of the job store share. The function moves is made of kernelport/jobs/states.py and gives a table:
-- where a verb changes something (true), nothing (false), or is refused (nil).
--
-- Keys are made from ids here, so the scripts declare none: they need a Redis that is no cluster.
-- kernelport/broker/keys.py says what each key holds.
--
-- An item is one byte in its page's state string: w waiting, r running, s succeeded, f failed.
-- A slice of a page, [page, first, count, cost, {workers that died over it}, how many of those had nothing else in
-- hand], is what a worker runs as one batch.
-- A ticket is a Celery message that entitles its worker to the next slice of its deployment, whichever that is then.

-- include moves counted
-- keys of_tenant active_jobs jobs_clock job_tenants tenants_clock jobs_looked_at queued_tickets taken_slices job_voices job_recording
-- keys UNACKED UNACKED_INDEX JOBS JOB_STACK FINISHING_JOBS EXPIRING_JOBS DELETING_JOBS JOB_HOOKS TENANTS VOICES VOICE_RECORDINGS
-- keys JOBS_CLOCK_TTL_S DELETING_TTL_S REDELIVERIES TALLIES_TTL_S

local JOB_PARTS = {'spec', 'pages', 'states', 'attempts', 'ids', 'places', 'digests', 'ready', 'log', 'index',
  'hook', 'counted'}
local DEFAULT_TENANT = 'default'
-- For so long a job that is over is kept for its webhook: an event is given up after a day.
local HOOK_PATIENCE_US = 86400 * 1000000
-- What a script looks at in one go, of jobs that may be thousands.
local SOME_JOBS = 100

local function now_us()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function whole(number) return string.format('%.0f', number) end

local function fields(job, ...) return redis.call('HMGET', job_key(job), ...) end

local function add(job, field, number)
  if number ~= 0 then redis.call('HINCRBY', job_key(job), field, whole(number)) end
end


-- Appends to the job's log, which watchers and webhooks read. Returns the entry's number, counted from 1.
local function tell(job, field, value)
  local number = redis.call('HINCRBY', job_key(job), 'log_length', 1)
  redis.call('XADD', job_key(job, 'log'), whole(number) .. '-0', field, value)
  local found = fields(job, 'has_webhook', 'telling')
  if found[1] then
    -- A new state is looked at before the next try of an earlier event, unless a process is at it just now.
    redis.call('ZADD', JOB_HOOKS, (found[2] or field ~= 'state') and 'NX' or 'LT', whole(now_us()), job)
  end
  return number
end

local function set_state(job, state)
  redis.call('HSET', job_key(job), 'state', state)
  tell(job, 'state', state)
end

-- Where a job is in its life.
local function stage_of(job)
  local found = fields(job, 'state', 'ending', 'sealed')
  local state = found[1]
  if not state then return 'gone' end
  if state == 'pending' or state == 'running' then
    if (found[2] or '') ~= '' then return 'ending' end
    return found[3] == '1' and 'sealed' or 'open'
  end
  if state == 'failed' or state == 'cancelled' or state == 'expired' then
    return found[3] == '1' and 'stopped' or 'broken'
  end
  return state
end

-- Whether a verb changes a job where it is, or nil when it is refused there; and where that is.
local function may(job, verb)
  local stage = stage_of(job)
  return moves()[verb][stage], stage
end

-- The tenant of a job, as its id tells.
local function tenant_of(job) return string.match(job, '^([^~]+)~') or DEFAULT_TENANT end

-- The key of what a tenant has for itself.
local function owned(key, tenant) return tenant == DEFAULT_TENANT and key or of_tenant_key(key, tenant) end

-- The same of the tenant of a job.
local function of_its_tenant(key, job) return owned(key, tenant_of(job)) end

-- A number that is stored; 0 where others have written something that is none, or has no end.
local function finite(text)
  local number = tonumber(text or 0)
  return number and number > -math.huge and number < math.huge and number or 0
end

-- Among the active jobs of its tenant a job begins about where these stand, and so does its tenant among those of the
-- deployment: whoever was away has saved up nothing.
local function be_active(deployment, job, unless)
  local clock = finite(redis.pcall('GET', of_its_tenant(jobs_clock_key(deployment), job)))
  local active = of_its_tenant(active_jobs_key(deployment), job)
  if unless then redis.call('ZADD', active, unless, clock, job) else redis.call('ZADD', active, clock, job) end
  local tenants_had = finite(redis.pcall('GET', tenants_clock_key(deployment)))
  redis.call('ZADD', job_tenants_key(deployment), 'NX', tenants_had, tenant_of(job))
end

local function be_active_no_more(deployment, job)
  local active = of_its_tenant(active_jobs_key(deployment), job)
  redis.call('ZREM', active, job)
  if redis.call('EXISTS', active) == 0 then redis.call('ZREM', job_tenants_key(deployment), tenant_of(job)) end
end

-- The tenants that have active jobs, the one that is due first. Versions before there were tenants told of none.
local function active_tenants(deployment)
  local tenants = job_tenants_key(deployment)
  if not redis.call('ZSCORE', tenants, DEFAULT_TENANT) and redis.call('EXISTS', active_jobs_key(deployment)) == 1 then
    redis.call('ZADD', tenants, finite(redis.pcall('GET', tenants_clock_key(deployment))), DEFAULT_TENANT)
  end
  return redis.call('ZRANGE', tenants, 0, -1)
end

-- The active jobs of a deployment, the one that is due first: by tenant, then by what each has had. Most callers need
-- only the first of them.
local function active_jobs(deployment)
  local tenants, of, first, some, at = active_tenants(deployment), 1, 0, {}, 0
  return function()
    at = at + 1
    while at > #some and tenants[of] do
      some = redis.call('ZRANGE', owned(active_jobs_key(deployment), tenants[of]), first, first + SOME_JOBS - 1)
      first, at = first + SOME_JOBS, 1
      if #some == 0 then of, first = of + 1, 0 end
    end
    return some[at]
  end
end

-- Some of the active jobs of a deployment, whatever is due, behind so many others.
local function some_active_jobs(deployment, first)
  local tenants, some = active_tenants(deployment), {}
  table.sort(tenants)
  for _, tenant in ipairs(tenants) do
    local active = owned(active_jobs_key(deployment), tenant)
    local there = redis.call('ZCARD', active)
    if first < there then
      for _, job in ipairs(redis.call('ZRANGE', active, first, first + SOME_JOBS - #some - 1)) do some[#some + 1] = job end
    end
    first = math.max(0, first - there)
    if #some == SOME_JOBS then break end
  end
  return some
end

-- Gives out the member of a sorted set that has been due for longest, to one process at a time.
local function lease(due, microseconds, patience)
  local now = now_us()
  local member = redis.call('ZRANGE', due, '-inf', whole(now - patience), 'BYSCORE', 'LIMIT', 0, 1)[1]
  if not member then return false end
  redis.call('ZADD', due, whole(now + microseconds), member)
  return member
end

-- A job that is over goes on: it does not go with its retention.
local function keep(job)
  for _, index in ipairs({EXPIRING_JOBS, FINISHING_JOBS}) do redis.call('ZREM', index, job) end
  redis.call('PERSIST', job_key(job))
  for _, part in ipairs(JOB_PARTS) do redis.call('PERSIST', job_key(job, part)) end
  local request = fields(job, 'request_key')[1]
  if request and request ~= '' then redis.call('PERSIST', request) end
end

-- The job speaks no more: recordings that no other job has pinned go.
local function release_voices(job)
  for _, pinned in ipairs(redis.call('HVALS', job_voices_key(job))) do
    local recording = job_recording_key(string.sub(pinned, 1, 64))
    if redis.call('HINCRBY', recording, 'pins', -1) <= 0 then redis.call('UNLINK', recording) end
  end
  redis.call('UNLINK', job_voices_key(job))
end

-- Deletes a job of which nothing runs: its items at once, its files after it; without files all of it at once.
local function begin_deleting(job, with_files)
  for _, part in ipairs(JOB_PARTS) do redis.call('UNLINK', job_key(job, part)) end
  release_voices(job)
  for _, index in ipairs({EXPIRING_JOBS, FINISHING_JOBS, JOB_HOOKS}) do redis.call('ZREM', index, job) end
  local request = fields(job, 'request_key')[1]
  if request and redis.call('HGET', request, 'job') == job then redis.call('UNLINK', request) end
  if with_files then
    redis.call('HSET', job_key(job), 'state', 'deleting', 'deleting_since', whole(now_us()), 'ending', '', 'reason', '')
    redis.call('EXPIRE', job_key(job), DELETING_TTL_S)
    redis.call('ZADD', DELETING_JOBS, whole(now_us()), job)
  else
    redis.call('UNLINK', job_key(job))
    redis.call('ZREM', of_its_tenant(JOBS, job), job)
  end
end

-- Hands a job over for its manifest to be written. The round tells a finisher that was held up that it is another time.
local function hand_over(job)
  local found = fields(job, 'deployment', 'discarded')
  be_active_no_more(found[1], job)
  give_back(job)
  if found[2] then return begin_deleting(job, true) end
  redis.call('HSET', job_key(job), 'state', 'finishing')
  redis.call('HINCRBY', job_key(job), 'round', 1)
  redis.call('ZADD', FINISHING_JOBS, whole(now_us()), job)
end

-- Once nothing runs and nothing is left to run, the job is handed over.
local function settle(job)
  local found = fields(job, 'ending', 'sealed', 'items', 'running', 'succeeded', 'failed')
  if not found[4] or tonumber(found[4]) > 0 then return end
  local is_over = found[1] ~= '' or tonumber(found[5]) + tonumber(found[6]) >= tonumber(found[3])
  if is_over and may(job, 'last item') then hand_over(job) end
end

local VERB_OF_ENDING = {cancelled = 'cancel', expired = 'deadline', failed = 'storage'}

-- From now on no slice of the job is given out. It is over once nothing of it runs.
local function begin_ending(job, ending, reason)
  if not may(job, VERB_OF_ENDING[ending]) then return false end
  -- Behind a removal, a full Redis takes a write.
  be_active_no_more(fields(job, 'deployment')[1], job)
  redis.call('UNLINK', job_key(job, 'ready'))
  redis.call('HSET', job_key(job), 'ending', ending, 'reason', reason, 'was_cancelled', ending == 'cancelled' and 1 or 0)
  tell(job, 'state', ending)
  settle(job)
  return true
end

local function is_late(deadline)
  deadline = tonumber(deadline) or 0
  return deadline > 0 and deadline <= now_us()
end

-- Ends a job whose deadline has passed; says whether it did.
local function end_if_late(job, deadline)
  if not is_late(deadline) then return false end
  begin_ending(job, 'expired', 'the deadline passed before all items were done')
  return true
end

-- Gives out again what waits of a job, in slices of up to so many items.
local function run_again(job, most)
  local found = fields(job, 'deployment', 'pages', 'items', 'succeeded', 'failed', 'total_cost', 'started')
  local each = math.max(1, tonumber(found[6] or 0) / math.max(1, tonumber(found[3])))
  redis.call('UNLINK', job_key(job, 'ready'))
  for page = 0, tonumber(found[2]) - 1 do
    local states = redis.call('HGET', job_key(job, 'states'), page)
    local first = string.find(states, 'w', 1, true)
    while first do
      local part = string.sub(states, first, first + most - 1)
      local _, waiting = string.gsub(part, 'w', '')
      redis.call('RPUSH', job_key(job, 'ready'), cjson.encode({page, first - 1, #part, math.ceil(each * waiting)}))
      first = string.find(states, 'w', first + #part, true)
    end
  end
  redis.call('HSET', job_key(job), 'waiting_cost', whole(each * (found[3] - found[4] - found[5])))
  be_active(found[1], job)
  set_state(job, found[7] and 'running' or 'pending')
  settle(job)
end

-- Whether a decoded value is a slice of the job's page, as it is now.
local function is_slice(job, slice)
  if type(slice) ~= 'table' then return false end
  for i = 1, 4 do
    if type(slice[i]) ~= 'number' then return false end
  end
  local states = redis.call('HGET', job_key(job, 'states'), whole(slice[1]))
  return states and slice[2] >= 0 and slice[3] >= 0 and slice[2] + slice[3] <= #states
    and (slice[5] == nil or type(slice[5]) == 'table') and (slice[6] == nil or type(slice[6]) == 'number')
end

-- What the bearer of a ticket holds, and the same as JSON. What is no such record, or is of a job that is gone, is
-- dropped.
local function held_by(deployment, ticket)
  local json = redis.call('HGET', taken_slices_key(deployment), ticket)
  if not json then return nil end
  local is_json, held = pcall(cjson.decode, json)
  if is_json and type(held) == 'table' and type(held.job) == 'string' and type(held.worker) == 'string'
    and type(held.attempt) == 'string' and is_slice(held.job, held.slice) then
    return held, json
  end
  redis.call('HDEL', taken_slices_key(deployment), ticket)
  return nil
end

-- A worker died over what it held: its items wait again, each by itself, so that one cannot take the others along. Only
-- a death over a single item is held against it: of several, nobody knows whose doing it was.
local function put_back(deployment, ticket, held)
  redis.call('HDEL', taken_slices_key(deployment), ticket)
  local slice, job = held.slice, held.job
  local page, first, count, cost, workers, alone = slice[1], slice[2], slice[3], slice[4], slice[5] or {}, slice[6] or 0
  local states = redis.call('HGET', job_key(job, 'states'), page)
  if not states then return end
  workers[#workers + 1] = held.worker
  local ending = fields(job, 'ending')[1]
  local _, running = string.gsub(string.sub(states, first + 1, first + count), 'r', '')
  if running == 1 then alone = alone + 1 end
  local each = math.ceil(cost / math.max(1, running))
  for position = first + count - 1, first, -1 do
    if string.sub(states, position + 1, position + 1) == 'r' then
      if ending == '' then
        redis.call('LPUSH', job_key(job, 'ready'), cjson.encode({page, position, 1, each, workers, alone}))
        add(job, 'waiting_cost', each)
      end
    end
  end
  local part = string.gsub(string.sub(states, first + 1, first + count), 'r', 'w')
  redis.call('HSET', job_key(job, 'states'), page,
    string.sub(states, 1, first) .. part .. string.sub(states, first + count + 1))
  add(job, 'running', -running)
  if running > 0 and ending == '' then
    redis.pcall('HINCRBY', REDELIVERIES, deployment, 1)  -- the items go on, whatever others have written there
    redis.call('EXPIRE', REDELIVERIES, TALLIES_TTL_S)
  end
  settle(job)
end
