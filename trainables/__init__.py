"""One trial: its data, model, training and result. Knows nothing of Ray, Optuna or W&B."""

import os

# Read by OpenMP when torch is loaded. By default its threads spin while they wait; where trials, or anything else,
# share the cores, a step then takes 30 times as long (measured: 16 s, not 0.4 s). A value the user has set wins.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
