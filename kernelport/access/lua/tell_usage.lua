-- Adds what callers of a front door have used, unless that was added before.
-- ARGV: the front door, how often it has told with this, one msgpack of amounts by `tenant:what`.
-- include used
-- keys usage usage_told USAGE_TTL_S USAGE_TOLD_TTL_S
local told = usage_told_key(ARGV[1])
if tonumber(redis.call('GET', told) or 0) >= tonumber(ARGV[2]) then return 0 end
redis.call('SET', told, ARGV[2], 'EX', USAGE_TOLD_TTL_S)
local key = usage_key(string.format('%d', math.floor(redis.call('TIME')[1] / 86400)))
for field, amount in pairs(cmsgpack.unpack(ARGV[3])) do
  add_used(key, field, string.format('%d', amount))
end
redis.call('EXPIRE', key, USAGE_TTL_S)
return 1
