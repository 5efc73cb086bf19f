-- Looks for a published batch.
-- KEYS: unacked, the queue's lists, one a priority ..., done and attempts of each id ...
-- ARGV: how many lists, message, the ids: the batch's own, then those of the requests it may have been split into.
-- Returns 1 when none of them is anywhere: not queued, not delivered, never taken and not done.
local lists = tonumber(ARGV[1])
if redis.call('EXISTS', unpack(KEYS, lists + 2)) > 0 then return 0 end
for i = 3, #ARGV do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then return 0 end
end
for list = 2, lists + 1 do
  if redis.call('LPOS', KEYS[list], ARGV[2]) then return 0 end
  -- kombu words a message anew when it puts it back, and workers word those of single requests.
  for _, entry in ipairs(redis.call('LRANGE', KEYS[list], 0, -1)) do
    for i = 3, #ARGV do
      if string.find(entry, '"' .. ARGV[i] .. '"', 1, true) then return 0 end
    end
  end
end
return 1
