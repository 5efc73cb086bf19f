-- Holds the revisions of a worker's deployments, all or none; or, in the same way, the storage that a front door sees.
-- A hold is `<until when, in milliseconds by the clock of Redis> <revision> <host>`, by the id of its worker.
-- KEYS: the holds on each deployment ...
-- ARGV: worker, host, milliseconds that the holds last, seconds that the keys do, 1 to hold beside other revisions, the
-- worker's revision of each deployment ...
-- Returns false when all are held; else nothing has changed, and it returns the number of the key where another
-- revision is held, by whom, and the hold that lasts longest.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i, key in ipairs(KEYS) do
  local holds, revision = redis.call('HGETALL', key), ARGV[5 + i]
  local ours, latest, other = false, 0, nil
  for j = 1, #holds, 2 do
    local until_ms, held = string.match(holds[j + 1], '^(%d+) (%S+)')
    until_ms = tonumber(until_ms or 0)  -- of what is no hold: it goes
    if until_ms <= now then
      redis.call('HDEL', key, holds[j])
    elseif held == revision then
      ours = ours or holds[j] == ARGV[1]
    elseif until_ms > latest then
      latest, other = until_ms, {i, holds[j], holds[j + 1]}
    end
  end
  if other and not ours and ARGV[5] ~= '1' then return other end
end
for i, key in ipairs(KEYS) do
  redis.call('HSET', key, ARGV[1], string.format('%.0f %s %s', now + ARGV[3], ARGV[5 + i], ARGV[2]))
  redis.call('EXPIRE', key, ARGV[4])
end
return false
