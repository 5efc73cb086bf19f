-- Counts some of the jobs that a tenant has: everybody waits for Redis meanwhile.
-- ARGV: how many jobs were looked at before, the set of the tenant's jobs.
-- Returns how many have been looked at by now, or 0 when those were all; then of each deployment and state among these:
-- deployment, state, how many jobs, age of the oldest (microseconds).
-- include common
local first, now, counts, order = tonumber(ARGV[1]), now_us(), {}, {}
local jobs = redis.call('ZRANGE', ARGV[2], first, first + SOME_JOBS - 1)
for _, job in ipairs(jobs) do
  local found = redis.pcall('HMGET', job_key(job), 'deployment', 'state', 'created')
  if found[1] and found[2] then
    local key = found[1] .. '\0' .. found[2]
    if not counts[key] then
      counts[key] = {found[1], found[2], 0, 0}
      order[#order + 1] = counts[key]
    end
    counts[key][3] = counts[key][3] + 1
    counts[key][4] = math.max(counts[key][4], now - (tonumber(found[3]) or now))
  end
end
local answer = {#jobs < SOME_JOBS and 0 or first + #jobs}
for _, each in ipairs(order) do
  for i = 1, 4 do answer[#answer + 1] = each[i] end
end
return answer
