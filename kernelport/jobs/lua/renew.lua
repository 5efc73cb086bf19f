-- Gives a job that `finishing` gave out for longer, or back for later.
-- ARGV: job, for how long from now (microseconds).
-- include common
redis.call('ZADD', FINISHING_JOBS, 'XX', whole(now_us() + ARGV[2]), ARGV[1])
