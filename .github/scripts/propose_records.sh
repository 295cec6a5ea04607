#!/usr/bin/env bash
# Commit leaderboards/ to a new branch and open a pull request. Reads SUBMISSION, GH_TOKEN and what GitHub sets (GITHUB_*).
set -euo pipefail

git add --all -- leaderboards
if git diff --cached --quiet; then
  echo "no new records: nothing to propose"
  exit 0
fi

branch="records/$GITHUB_RUN_ID-$GITHUB_RUN_ATTEMPT"
title="Records of $SUBMISSION"
body="Measured from $GITHUB_SHA by $GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID

Records are only added; the pages follow from them. If the checks do not start by themselves, close and reopen this pull request.
If main has moved on and a page conflicts, merge main and run \`hlbench leaderboard\`."

git switch --quiet --create "$branch"
git -c user.name='github-actions[bot]' -c user.email='41898282+github-actions[bot]@users.noreply.github.com' \
  commit --quiet --message "$title"
# The token reaches git through gh and is written nowhere.
git -c credential.helper= -c credential.helper='!gh auth git-credential' push --quiet origin "$branch"
gh pr create --base main --head "$branch" --title "$title" --body "$body"
