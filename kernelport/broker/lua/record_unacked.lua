-- Records the delivery of a message that was popped off a queue's list.
-- KEYS: those of deliver, the list it was popped off.  ARGV: those of deliver, the entry.
-- Returns how many more are on the list, and its count.
-- include deliver
return {redis.call('LLEN', KEYS[3]), deliver(KEYS[3], ARGV[5])}
