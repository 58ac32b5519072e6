-- Passes a bell on that nobody answered.
if some_wait(ARGV[1]) then ring_for(ARGV[1]) end
