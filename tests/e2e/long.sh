#!/usr/bin/env bash
# Checks that take minutes: they run before a release, and when what they check has changed. Needs an optimized recorder.
set -euo pipefail
cd "$(dirname "$0")/../.."

cargo build --release --locked --quiet -p kube9-recorder
cargo build --locked --quiet -p kube9-tests --bin kube9-torture

# A tenant against the chart's memory limit: every attack three times (listed, watched, listed after a restart), Events
# of others complete. Needs a memory control group, which mostly means root.
target/debug/kube9-torture --tenant all --recorder target/release/kube9-recorder
