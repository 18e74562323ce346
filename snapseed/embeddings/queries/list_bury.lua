-- A job becomes a dead one, unless another worker has it by now.
if redis.call('LREM', KEYS[1], -1, ARGV[1]) == 1 then
  redis.call('LPUSH', KEYS[2], ARGV[2])
  redis.call('HDEL', KEYS[3], redis.sha1hex(ARGV[1]))
end
