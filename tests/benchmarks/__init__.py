"""Speed against named peers, measured in the same run; no time is asserted anywhere."""
