"""From records to statistics, tables and leaderboard pages: pure functions of the files of a checkout, without torch."""
