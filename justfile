# The everyday commands: `just`, or `uv run just` where it is not installed, lists them.

[private]
default:
    @just --list --unsorted

# Run the default fleet against the sandbox on this machine until Ctrl+C, or as long as you say: just demo --for 1m
demo *options:
    uv run python -m engine run config.yaml {{ options }}

# Run the tests, without those that take long: just test; just test tests/states; just test -m slow
test *options:
    uv run pytest {{ options }}

# Check everything that can be checked without running a test: style, types, imports, diagrams, documents
check:
    uv run ruff check
    uv run ruff format --check
    uv run mypy
    uv run lint-imports
    uv run python -m engine diagram --check
    uv run python -m tools.config_reference --check
    uv run python -m tools.log_reference --check
    uv run python -m tools.pictures --check
    uv run --group docs zensical build --strict

# Show the documents as a site on this machine, and go on showing what you change
docs:
    uv run --group docs zensical serve

# Format, and mend what ruff can mend
fix:
    uv run ruff check --fix
    uv run ruff format

# Run the tests with each supported Python that is on this machine, and say which are not
test-all *options:
    #!/usr/bin/env bash
    set -uo pipefail
    # pyenv's python3.12 and its like refuse to run unless the version is active.
    if command -v pyenv > /dev/null; then export PYENV_VERSION="$(pyenv versions --bare | paste -sd:)"; fi
    passed=() failed=() absent=()
    for version in 3.11 3.12 3.13 3.14; do
        if ! uv python find --no-project --no-python-downloads "$version" > /dev/null 2>&1; then
            absent+=("$version")
        elif uv run --isolated --no-python-downloads --python "$version" pytest {{ options }}; then
            passed+=("$version")
        else
            failed+=("$version")
        fi
    done
    echo "passed: ${passed[*]:-none}   failed: ${failed[*]:-none}   not on this machine: ${absent[*]:-none}"
    [ "${#failed[@]}" = 0 ] && [ "${#passed[@]}" != 0 ]
