-- Looks for tickets that are nowhere: their worker died after Redis gave the message out and before it was noted.
-- ARGV: deployment, the queue's list of tickets, kombu's hash of delivered messages, tickets that were nowhere before ...
-- What is nowhere again is put back. Returns the tickets that are nowhere for the first time.
-- include common
local deployment, list, unacked = ARGV[1], ARGV[2], ARGV[3]
local suspected = {}
for i = 4, #ARGV do suspected[ARGV[i]] = true end
local queue = nil
local function is_nowhere(ticket)
  if redis.call('HEXISTS', unacked, ticket) == 1 then return false end
  queue = queue or redis.call('LRANGE', list, 0, -1)
  for _, message in ipairs(queue) do
    if string.find(message, '"' .. ticket .. '"', 1, true) then return false end
  end
  return true
end
local new = {}
local function look(ticket, give_up)
  if not is_nowhere(ticket) then return end
  if suspected[ticket] then give_up() else new[#new + 1] = ticket end
end
for _, ticket in ipairs(redis.call('SMEMBERS', queued_tickets_key(deployment))) do
  look(ticket, function() redis.call('SREM', queued_tickets_key(deployment), ticket) end)
end
for _, ticket in ipairs(redis.call('HKEYS', taken_slices_key(deployment))) do
  look(ticket, function()
    local held = held_by(deployment, ticket)
    if held then put_back(deployment, ticket, held) end
  end)
end
return new
