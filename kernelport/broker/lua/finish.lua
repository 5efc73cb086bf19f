-- A batch is done: hands out what came of it, or what it was split into, unless another worker was first.
-- KEYS: those of acknowledge, done, attempts, the list that gets values, what is kept, result hashes ...
-- ARGV: that of acknowledge, TTL of done, TTL of the list (0: for good), TTL of results, a response for each result
-- hash ..., values ...
-- An empty response drops the hash, so that the request may run again; '\0' and a key stand for one that is there. What
-- is kept is counted by the second at which it is gone, rounded up, so that there are few of these.
-- Returns 1, or 0 when the batch was done before and nothing but its acknowledgement is due.
-- keys RESULT_OVERHEAD_BYTES
local STEPS_OF_RESULT_TTL = 8
local first = redis.call('SET', KEYS[3], '', 'NX', 'EX', ARGV[2])
if first then
  redis.call('DEL', KEYS[4])
  local kept = 0
  for i = 7, #KEYS do
    local response = ARGV[i - 2]
    local staged = string.byte(response) == 0 and string.sub(response, 2)
    local size = staged and redis.call('STRLEN', staged) or #response
    if response == '' then
      redis.call('DEL', KEYS[i])
    elseif size > 0 and redis.call('EXISTS', KEYS[i]) == 1 then
      if redis.call('HEXISTS', KEYS[i], 'response') == 0 and redis.call('HEXISTS', KEYS[i], 'kept') == 0 then
        redis.call('HSET', KEYS[i], staged and 'kept' or 'response', staged or response)
        if staged then redis.call('EXPIRE', staged, ARGV[4]) end
        kept = kept + size + RESULT_OVERHEAD_BYTES
      end  -- else the first one stands
      redis.call('EXPIRE', KEYS[i], ARGV[4])
    end
  end
  if kept > 0 then
    local now, step = tonumber(redis.call('TIME')[1]), math.ceil(ARGV[4] / STEPS_OF_RESULT_TTL)
    for _, ends in ipairs(redis.pcall('HKEYS', KEYS[6])) do
      if (tonumber(ends) or 0) <= now then redis.call('HDEL', KEYS[6], ends) end
    end
    local ends = string.format('%.0f', math.ceil((now + ARGV[4]) / step) * step)
    redis.pcall('HINCRBY', KEYS[6], ends, kept)  -- the answer goes out, whatever others have written there
    redis.call('EXPIRE', KEYS[6], ARGV[4] + step)
  end
  redis.call('LPUSH', KEYS[5], unpack(ARGV, #KEYS - 1))
  if ARGV[3] ~= '0' then redis.call('EXPIRE', KEYS[5], ARGV[3]) end
end
-- include acknowledge
return first and 1 or 0
