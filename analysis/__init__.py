"""Results of a run: ledger, leaderboard, figures and pages."""
