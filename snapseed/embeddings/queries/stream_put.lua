-- One command for many jobs: one each would cost the client as much time as the server. The group is created here and
-- not only by a worker that misses it, because a Redis without memory would refuse that.
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], 'workers', '0', 'MKSTREAM')
if made.err and not made.err:find('BUSYGROUP') then return made end
for _, job in ipairs(ARGV) do redis.call('XADD', KEYS[1], '*', 'job', job) end
