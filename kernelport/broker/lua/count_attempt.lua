-- Counts an attempt at a batch.
-- ARGV: batch, this attempt, TTL of attempts.
-- include count
return count(ARGV[1], ARGV[2], ARGV[3])
