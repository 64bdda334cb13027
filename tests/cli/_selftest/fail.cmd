# Everything a case can have: output on both streams, an exit code, figures that change from run to run.
orrery fail "two words" && echo not reached
