-- Gives out a job whose files are to be deleted, to one process at a time.
-- ARGV: how long it is given for (microseconds).
-- Returns the job, since when it is being deleted, and the time (microseconds); or false.
-- include common
local job = lease(DELETING_JOBS, ARGV[1], 0)
return job and {job, fields(job, 'deleting_since')[1] or '0', whole(now_us())}
