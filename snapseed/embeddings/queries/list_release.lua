-- Jobs go back into the queue, the first one last, so that it comes first again; except those that others have by now.
for place = #ARGV, 2, -1 do
  if redis.call('LREM', KEYS[1], -1, ARGV[place]) == 1 then
    redis.call('RPUSH', KEYS[2], ARGV[place])
    if ARGV[1] == 'tried' then redis.call('HINCRBY', KEYS[3], redis.sha1hex(ARGV[place]), 1) end
  end
end
