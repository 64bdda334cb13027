# One node: no fabric, its NICs idle.
orrery topology show h200-8
