-- Puts back what a dead worker had in hand.
-- KEYS: unacked, unacked index, the list it goes to, what says who has the message.
-- ARGV: its delivery tag, its record in unacked, the entry of the list, how to read who has it, with which argument,
--       and what that said.
-- Returns 1, or 0 when the message is done, or in other hands, by now.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
if redis.call(ARGV[4], KEYS[4], ARGV[5]) ~= ARGV[6] then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('RPUSH', KEYS[3], ARGV[3])
return 1
