-- Gives the next message of some queues to a worker.
-- KEYS: those of deliver, the lists of the queues ...  ARGV: those of deliver.
-- Returns the first entry of the first list that has one, as delivered, and its count.
-- include deliver
for i = 3, #KEYS do
  local entry = redis.call('RPOP', KEYS[i])
  if entry then return {entry, deliver(KEYS[i], entry)} end
end
return false
