-- Gives out a job whose webhook has something to be told, to one process at a time.
-- ARGV: how long it is given for (microseconds).  Returns a job, or false.
return lease(HOOKS, ARGV[1], 0)
