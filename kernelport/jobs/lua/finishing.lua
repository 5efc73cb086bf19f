-- Gives out a job whose manifest is to be written, to one process at a time.
-- ARGV: how long it is given for, how long it must have been due (microseconds).  Returns a job, or false.
-- include common
return lease(FINISHING_JOBS, ARGV[1], ARGV[2])
