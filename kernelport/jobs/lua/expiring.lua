-- Gives out a job whose retention is over, to one process at a time.
-- ARGV: how long it is given for (microseconds).  Returns a job, or false.
-- include common
return lease(EXPIRING_JOBS, ARGV[1], 0)
