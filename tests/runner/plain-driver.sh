#!/usr/bin/env bash
# The least that a custom executor's driver can do: no lock, no supervision. The baseline of benchmarks and comparisons.
# Arguments: config | prepare | cleanup, or run SCRIPT STAGE.
[ "${1-}" = run ] || exit 0
bash "$2" </dev/null && exit 0
code=$?
[ -z "${BUILD_EXIT_CODE_FILE-}" ] || echo "$code" >"$BUILD_EXIT_CODE_FILE" # runners from 17.9 on
exit "${BUILD_FAILURE_EXIT_CODE:?set by the runner}"
