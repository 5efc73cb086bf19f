-- Gives a job that `finishing` gave out for longer, or back for later, unless it has been handed over once more since.
-- ARGV: job, its round, for how long from now (microseconds).
-- include common
if (fields(ARGV[1], 'round')[1] or '0') ~= ARGV[2] then return end
redis.call('ZADD', FINISHING_JOBS, 'XX', whole(now_us() + ARGV[3]), ARGV[1])
