-- Tops up the deployment's tickets: one for each live worker while there is something to run, beside those that workers
-- hold.
-- ARGV: deployment, the queue's list, live workers, then new tickets, each followed by the Celery message it travels in.
-- Returns how many were queued.
-- include common
local deployment, list = ARGV[1], ARGV[2]
local wanted, ready = tonumber(ARGV[3]), 0
local queued = redis.call('SCARD', queued_tickets_key(deployment))
if queued >= wanted then return 0 end
for job in active_jobs(deployment) do
  ready = ready + redis.call('LLEN', job_key(job, 'ready'))
  if ready >= wanted then break end
end
local missing, given = math.min(wanted, ready) - queued, 0
for i = 4, #ARGV, 2 do
  if given >= missing then break end
  redis.call('SADD', queued_tickets_key(deployment), ARGV[i])
  redis.call('LPUSH', list, ARGV[i + 1])
  given = given + 1
end
return given
