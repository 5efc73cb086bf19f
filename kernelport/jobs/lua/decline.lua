-- Lets a ticket go whose bearer may take no slice; another is made when it is missed.  ARGV: deployment, ticket.
-- include common
local deployment, ticket = ARGV[1], ARGV[2]
redis.call('ZREM', UNACKED_INDEX, ticket)
redis.call('HDEL', UNACKED, ticket)
if redis.call('SREM', queued_tickets_key(deployment), ticket) == 0 then
  local held = held_by(deployment, ticket)
  if held then put_back(deployment, ticket, held) end
end
