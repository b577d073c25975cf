#!/usr/bin/env bash
# Checks that take minutes: run them before a release, and when the code they check has changed. Needs a release build.
set -euo pipefail
cd "$(dirname "$0")/../.."

cargo build --release --locked --quiet -p kube9-recorder -p kube9-query
cargo build --locked --quiet -p kube9-tests --bin kube9-chaos

# Property tests with other seeds than those of every change.
PROPTEST_CASES=5000 cargo test --locked --quiet --workspace

# What the change history says of 200 objects at any time, after random edits.
for seed in 1 2 3; do
    KUBE9_EDITS=20000 KUBE9_SEED=$seed cargo test --locked --quiet -p kube9-store --test library -- states
done

# Hostile objects at the chart's memory limit: every attack three times (listed, watched, listed after a restart); the
# Events of others must be complete. Needs a memory cgroup, which usually requires root.
target/debug/kube9-chaos --tenant all --recorder target/release/kube9-recorder

# An hour of normal life on a real node: every finding must be justified.
KUBE9_E2E_BIN=target/release bash tests/e2e/normal-life.sh

# A matrix of changes on a real node: each change has its row, its author and its bodies.
KUBE9_E2E_BIN=target/release bash tests/e2e/changes.sh

# Questions about an incident on a real node, compared with what the API server showed; and what takes changes back.
KUBE9_E2E_BIN=target/release bash tests/e2e/ask.sh

# What containers say when they end, the rules about changes, and the stories of eight incidents, on a real node.
for script in last-words rules stories; do
    KUBE9_E2E_BIN=target/release bash "tests/e2e/$script.sh"
done
