-- What waits for workers of a deployment, of some of its active jobs: everybody waits for Redis meanwhile.
-- ARGV: deployment, how many jobs were looked at before.
-- Returns how many have been looked at by now, or 0 when those were all; then of these: jobs, items that no worker has
-- taken, their cost, items that run.
-- include common
local first, waiting, cost, running = tonumber(ARGV[2]), 0, 0, 0
local jobs = some_active_jobs(ARGV[1], first)
for _, job in ipairs(jobs) do
  local found = fields(job, 'items', 'running', 'succeeded', 'failed', 'waiting_cost')
  for i = 1, 5 do found[i] = tonumber(found[i] or 0) or 0 end
  waiting = waiting + found[1] - found[2] - found[3] - found[4]
  running = running + found[2]
  cost = cost + found[5]
end
return {#jobs < SOME_JOBS and 0 or first + #jobs, #jobs, waiting, cost, running}
