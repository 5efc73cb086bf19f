-- Gives out jobs whose files are to be deleted, to one process at a time.
-- ARGV: how long they are given for (microseconds), how many at most.
-- Returns {job, how many of its files are deleted already} ...
local found = {}
for _ = 1, tonumber(ARGV[2]) do
  local job = lease(DELETING, ARGV[1], 0)
  if not job then break end
  found[#found + 1] = {job, fields(job, 'deleted_files')[1] or '0'}
end
return found
