"""Many trials: the sweep file, Ray Tune, Optuna, stopping, tracking, the winner, the command line."""
