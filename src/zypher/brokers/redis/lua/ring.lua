-- Passes a bell on that nobody in a room answered.
if some_wait(ARGV[1]) then ring_in(ARGV[1], 1) end
