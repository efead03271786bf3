#!/usr/bin/env bash
# The least that a custom executor's driver can do: no lock, no supervision. The baseline of benchmarks and comparisons.
# Arguments: config | prepare | cleanup, or run SCRIPT STAGE.
case ${1-} in
run) bash "$2" </dev/null || exit "${BUILD_FAILURE_EXIT_CODE:?set by the runner}" ;;
esac
