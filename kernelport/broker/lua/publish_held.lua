-- Queues a message, and makes the holds of its requests last.
-- KEYS: the queue's list, result hashes ...
-- ARGV: message, and for each hash the id of the call, and until when the hash lasts in milliseconds of Unix time.
-- Returns 1; or 0, and nothing is done, when a hash is not the call's any more.
for i = 2, #KEYS do
  if redis.call('HGET', KEYS[i], 'call') ~= ARGV[2 * i - 2] then return 0 end
end
for i = 2, #KEYS do redis.call('PEXPIREAT', KEYS[i], ARGV[2 * i - 1], 'GT') end
redis.call('LPUSH', KEYS[1], ARGV[1])
return 1
