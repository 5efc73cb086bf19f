-- Gives a job back that `hook` gave out.
-- ARGV: job, the number of the newest log entry when it was looked at,
--       when to look again (microseconds of Unix time), 0 for when there is something new.
local job, seen, again = ARGV[1], ARGV[2], ARGV[3]
if again ~= '0' then
  redis.call('ZADD', HOOKS, 'XX', again, job)
elseif (fields(job, 'log_length')[1] or seen) == seen then
  redis.call('ZREM', HOOKS, job)
else
  redis.call('ZADD', HOOKS, 'XX', whole(now_us()), job)
end
