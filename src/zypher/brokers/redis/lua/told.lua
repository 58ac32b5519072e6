-- A node was told the end of a prediction, and what has come of it.
hand_over(ARGV[1], ARGV[2])
