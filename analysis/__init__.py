"""What was learned: the ledger of a run, the leaderboard, figures and pages."""
