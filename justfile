# The commands of CONTRIBUTING.md, shorter: https://just.systems. Each recipe is one command that also works without just.

# List the recipes
default:
    @just --list

# Build the two programs for development
build:
    cargo build --bin kube9-recorder --bin kube9-query

# Run the tests whose names contain NAME, or all: just test crash_loop
test *NAME:
    cargo test --workspace {{ NAME }}

# Run the cases of one rule: just rule CrashLoop
rule NAME:
    cargo test -p kube9-rules --lib rules::{{ snakecase(NAME) }}

# Format
fmt:
    cargo fmt --all

# Lint as CI does
lint:
    cargo clippy --workspace --all-targets -- -D warnings

# Lint scripts and workflows
lint-scripts:
    .ci/lint

# Record a simulated cluster: just demo --for 1m --log-level debug
demo *ARGS:
    cargo run --bin kube9-demo -- {{ ARGS }}

# Query the record of the demo: just query events list --reason=CrashLoop
query *ARGS:
    cargo run --quiet --bin kube9-query -- --db kube9-data/kube9.db --format=table {{ ARGS }}

# Fail if a generated file is out of date
check-generated:
    .ci/generated

# Write the pages, completions, manual pages, golden files and lists that tests compare
docs:
    KUBE9_UPDATE=1 .ci/generated tests

# Write every generated file, also the pictures and the list of Kubernetes' reasons
generate:
    KUBE9_UPDATE=1 .ci/generated

# Run an end-to-end script: just e2e cluster; on a cluster in Docker: KUBE9_E2E_CLUSTER=kind just e2e cluster
e2e NAME="control-plane":
    bash tests/e2e/{{ NAME }}.sh

# Build both images without a registry into target/images
images:
    bash tests/e2e/images.sh

# Run everything that a change must pass
ci:
    .ci/run
