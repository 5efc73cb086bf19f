-- Gives the bearer of a ticket the next slice of the deployment: of the tenant whose jobs have had least for its
-- weight, of that one's job that has had least for its priority.
-- A slice is cut to what the worker may do at once: at least one item; the rest waits where the slice did.
-- ARGV: deployment, ticket, worker, attempt (unique for ever), workers that may die over an item alone, the cost that
--       the worker may take at once of a job that it knows nothing of, then jobs, each followed by what it may of that.
-- Returns false when there is nothing to do; else what is held as JSON, the states of the slice's items, the job's
-- deadline, its edition, and the request id that the job goes by in logs, or false.
-- include common
local deployment, ticket, worker, attempt = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local function told(held, json)
  local states = redis.call('HGET', job_key(held.job, 'states'), held.slice[1])
  local part = string.sub(states, held.slice[2] + 1, held.slice[2] + held.slice[3])
  local found = fields(held.job, 'deadline', 'edition', 'request_id')
  return {json, part, found[1], found[2], found[3]}
end

if redis.call('SREM', queued_tickets_key(deployment), ticket) == 0 then
  local held, json = held_by(deployment, ticket)
  if not held then return false end
  -- The same attempt again: the worker did not hear back, and repeats itself.
  if held.attempt == attempt then return told(held, json) end
  put_back(deployment, ticket, held)
end

-- One byte an item: how often a worker took it, up to 255.
local function count_attempts(job, page, states, first, count)
  local attempts = redis.call('HGET', job_key(job, 'attempts'), page) or string.rep('\0', #states)
  local bytes = {}
  for i = 1, count do
    local taken = string.sub(states, first + i, first + i) == 'w' and 1 or 0
    bytes[i] = string.char(math.min(255, string.byte(attempts, first + i) + taken))
  end
  redis.call('HSET', job_key(job, 'attempts'), page,
    string.sub(attempts, 1, first) .. table.concat(bytes) .. string.sub(attempts, first + count + 1))
end

local most_cost = {}
for i = 7, #ARGV, 2 do most_cost[ARGV[i]] = tonumber(ARGV[i + 1]) end

-- Puts back what the worker is not to take of a slice of which so many items wait.
local function cut(job, slice, states, waiting)
  local page, first, count, cost = slice[1], slice[2], slice[3], slice[4]
  local most = most_cost[job] or tonumber(ARGV[6] or math.huge)
  local taken = math.max(1, math.floor(waiting * most / math.max(1, cost)))
  if taken >= waiting then return end
  local last = first
  for _ = 1, taken do last = string.find(states, 'w', last + 1, true) end
  local left = math.floor(cost * (waiting - taken) / waiting)
  local rest = {page, last, first + count - last, left, slice[5], slice[6]}
  redis.call('LPUSH', job_key(job, 'ready'), cjson.encode(rest))
  slice[3], slice[4] = last - first, cost - left
end

local function next_slice(job)
  while true do
    local json = redis.call('LPOP', job_key(job, 'ready'))
    if not json then return nil end
    local slice = cjson.decode(json)
    local page, first = slice[1], slice[2]
    local states = redis.call('HGET', job_key(job, 'states'), page)
    local _, waiting = string.gsub(string.sub(states, first + 1, first + slice[3]), 'w', '')
    if waiting > 0 then
      cut(job, slice, states, waiting)
      local count = slice[3]
      local part, running = string.gsub(string.sub(states, first + 1, first + count), 'w', 'r')
      redis.call('HSET', job_key(job, 'states'), page,
        string.sub(states, 1, first) .. part .. string.sub(states, first + count + 1))
      -- Past that many it is taken only to be given up.
      if (slice[6] or 0) < tonumber(ARGV[5] or math.huge) then count_attempts(job, page, states, first, count) end
      return slice, running
    end
  end
end

-- What a tenant counts beside others.
local function weight_of(tenant)
  local is_json, record = pcall(cjson.decode, redis.call('HGET', TENANTS, tenant) or '{}')
  local weight = is_json and type(record) == 'table' and tonumber(record.weight) or 1
  return weight > 0 and weight or 1
end

-- Moves on the place where whoever becomes active begins: by what each of so many would have got. Were it that of who is
-- served, those that come and go would always be before those that stay.
local function move_on(clock, had, share, count)
  local at = math.max(finite(redis.pcall('GET', clock)), had)
  redis.call('SET', clock, at + share / math.max(1, count), 'EX', JOBS_CLOCK_TTL_S)
end

-- Counts what a job gets.
local function charge_job(job, share)
  local active = of_its_tenant(active_jobs_key(deployment), job)
  local had = finite(redis.call('ZSCORE', active, job))
  move_on(of_its_tenant(jobs_clock_key(deployment), job), had, share, redis.call('ZCARD', active))
  redis.call('ZADD', active, had + share, job)
end

-- Counts what a tenant gets. Those before it that had nothing to give have saved up nothing.
local function charge_tenant(tenant, cost, passed_over)
  local tenants, share = job_tenants_key(deployment), cost / weight_of(tenant)
  local had = finite(redis.call('ZSCORE', tenants, tenant))
  move_on(tenants_clock_key(deployment), had, share, redis.call('ZCARD', tenants))
  redis.call('ZADD', tenants, had + share, tenant)
  for each in pairs(passed_over) do
    if each ~= tenant then redis.call('ZADD', tenants, 'XX', 'GT', had, each) end
  end
end

-- Jobs that are late end behind the look at all: it goes by their places among the active.
local late = {}
local function end_late()
  for job, deadline in pairs(late) do end_if_late(job, deadline) end
end

local passed_over = {}
for job in active_jobs(deployment) do
  local found = fields(job, 'weight', 'state', 'deadline')
  local slice, running
  if is_late(found[3]) then
    late[job] = found[3]
  else
    slice, running = next_slice(job)
  end
  if slice then
    local cost = math.max(1, slice[4])
    charge_job(job, cost / tonumber(found[1]))
    charge_tenant(tenant_of(job), cost, passed_over)
    add(job, 'running', running)
    add(job, 'waiting_cost', -slice[4])
    if found[2] == 'pending' then
      redis.call('HSETNX', job_key(job), 'started', whole(now_us()))
      set_state(job, 'running')
    end
    local held = {job = job, slice = slice, worker = worker, attempt = attempt}
    local json = cjson.encode(held)
    redis.call('HSET', taken_slices_key(deployment), ticket, json)
    end_late()
    return told(held, json)
  end
  passed_over[tenant_of(job)] = true
end
end_late()
return false
