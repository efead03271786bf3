#!/usr/bin/env bash
# A driver that pipeline-lock is put around: runs scripts, and writes down each of its calls with the lock's holder at that moment.
# Arguments: config | prepare | cleanup, or run SCRIPT STAGE.
log=$RUNNER_TEST_WORLD/driver-calls
note() {
    holder=$("$RUNNER_TEST_WORLD/bin/pipeline-lock" status "$RUNNER_TEST_LOCK" --json | grep -o '"job_id": *[0-9]*' | grep -o '[0-9]*$' | head -1)
    echo "$1 $CUSTOM_ENV_CI_JOB_ID $holder" >>"$log"
}
case $1 in
    config) echo '{"driver": {"name": "other-driver", "version": "v7"}, "job_env": {"MACHINE": "m-7"}}' ;;
    prepare)
        note prepare
        echo "machine $MACHINE is up"
        exit "${CUSTOM_ENV_PREPARE_EXIT:-0}"
        ;;
    run)
        [ "$3" != build_script ] || note run
        bash "$2" </dev/null && exit 0
        code=$?
        [ -z "${BUILD_EXIT_CODE_FILE-}" ] || echo "$code" >"$BUILD_EXIT_CODE_FILE" # runners from 17.9 on
        exit "${BUILD_FAILURE_EXIT_CODE:?set by the runner}"
        ;;
    cleanup)
        note cleanup
        sleep 0.3 # a lock that is given back too early would be seen
        note cleaned
        ;;
esac
