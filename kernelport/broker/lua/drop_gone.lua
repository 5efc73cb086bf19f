-- Drops ids whose records have expired: between the look at a record and this its owner may have written it again.
-- KEYS: the index, the record of each id ...  ARGV: the ids ...
for i, id in ipairs(ARGV) do
  if redis.call('EXISTS', KEYS[i + 1]) == 0 then redis.call('SREM', KEYS[1], id) end
end
