-- What waits for workers of a deployment.  ARGV: deployment.
-- Returns active jobs, items that no worker has taken, their cost, items that run.
local jobs, waiting, cost, running = 0, 0, 0, 0
for _, job in ipairs(redis.call('ZRANGE', active_key(ARGV[1]), 0, -1)) do
  local found = fields(job, 'items', 'running', 'succeeded', 'failed', 'waiting_cost')
  for i = 1, 5 do found[i] = tonumber(found[i] or 0) or 0 end
  jobs = jobs + 1
  waiting = waiting + found[1] - found[2] - found[3] - found[4]
  running = running + found[2]
  cost = cost + found[5]
end
return {jobs, waiting, cost, running}
