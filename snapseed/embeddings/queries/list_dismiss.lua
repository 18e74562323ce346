-- A worker is forgotten, and its jobs go back. If it was taken for dead, only if it is still silent.
if ARGV[2] == 'dead' and redis.call('EXISTS', KEYS[5]) == 1 then return end
while true do
  local job = redis.call('LMOVE', KEYS[1], KEYS[2], 'LEFT', 'RIGHT')
  if not job then break end
  if ARGV[2] == 'dead' then redis.call('HINCRBY', KEYS[3], redis.sha1hex(job), 1) end
end
redis.call('SREM', KEYS[4], ARGV[1])
redis.call('DEL', KEYS[5])
