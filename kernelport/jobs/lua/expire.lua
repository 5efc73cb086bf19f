-- Expires jobs that are past their deadline, or were left open: looks at some of a deployment's active jobs, since
-- everybody waits for Redis meanwhile.
-- ARGV: deployment, how many jobs were looked at before.
-- Returns how many have been looked at by now, or 0 when those were all.
-- include common
local deployment, first, now = ARGV[1], tonumber(ARGV[2]), now_us()
-- Once a second is enough, whoever does it.
if first == 0 and not redis.call('SET', jobs_looked_at_key(deployment), '', 'NX', 'PX', 900) then return 0 end
local jobs = some_active_jobs(deployment, first)
local kept = 0
for _, job in ipairs(jobs) do
  local found = fields(job, 'deadline', 'sealed', 'created', 'added', 'retention_s', 'open_s')
  local deadline, used = tonumber(found[1]), tonumber(found[4] or found[3])
  if not (deadline and used) then
    be_active_no_more(deployment, job)  -- no job of ours
  elseif end_if_late(job, deadline) then  -- it is not among the active any more
  elseif found[2] ~= '1' and used + (found[6] or found[5]) * 1000000 <= now then
    begin_ending(job, 'expired', 'it was left open: never sealed, and without new items')
  else
    kept = kept + 1
  end
end
return #jobs < SOME_JOBS and 0 or math.max(1, first + kept)
