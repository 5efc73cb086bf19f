-- ARGV: job, the state it is to end in, reason.
-- Returns 1, or 0 when it was over or ending before.
-- include common
return begin_ending(ARGV[1], ARGV[2], ARGV[3]) and 1 or 0
