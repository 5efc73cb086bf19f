-- Expires jobs that are past their deadline, or were left open; and tops up the deployment's tickets: one for each live
-- worker while there is something to run, beside those that workers hold.
-- ARGV: deployment, the queue's list, live workers, then new tickets, each followed by the Celery message it travels in.
-- Returns how many were queued.
local deployment, list = ARGV[1], ARGV[2]
local wanted, ready, now = tonumber(ARGV[3]), 0, now_us()
for _, job in ipairs(redis.call('ZRANGE', active_key(deployment), 0, -1)) do
  local found = fields(job, 'deadline', 'sealed', 'created', 'added', 'retention_s', 'open_s')
  local deadline, used = tonumber(found[1]), tonumber(found[4] or found[3])
  if not (deadline and used) then
    redis.call('ZREM', active_key(deployment), job)  -- no job of ours
  elseif deadline > 0 and deadline <= now then
    begin_ending(job, 'expired', 'the deadline passed before all items were done')
  elseif found[2] ~= '1' and used + (found[6] or found[5]) * 1000000 <= now then
    begin_ending(job, 'expired', 'it was left open: never sealed, and without new items')
  else
    ready = ready + redis.call('LLEN', job_key(job, 'ready'))
  end
end
local missing = math.min(wanted, ready) - redis.call('SCARD', queued_key(deployment))
local given = 0
for i = 4, #ARGV, 2 do
  if given >= missing then break end
  redis.call('SADD', queued_key(deployment), ARGV[i])
  redis.call('LPUSH', list, ARGV[i + 1])
  given = given + 1
end
return given
