"""The job as GitLab hands it to a runner: every field that a current GitLab sends, with made-up but consistent values.

Each runner version reads the fields that it knows and drops the rest, so one payload serves them all.
"""

import hashlib

HOST = "gitlab.test"


def payload(job_id, project, script, *, name="deploy", after_script=(), timeout=3600, variables=None, git_strategy="none", pipeline=None):
    """A job of `project` (its full path) that runs `script`, a list of lines. `variables` are those of the job's author; timeout in seconds; each job is a pipeline of its own unless one is given."""
    token = f"glcbt-64_{hashlib.sha256(str(job_id).encode()).hexdigest()[:20]}"
    pipeline_id = pipeline or job_id + 500000
    namespace, _, project_name = project.rpartition("/")
    predefined = _predefined(job_id, pipeline_id, project, name, token, timeout)
    own = [_variable("GIT_STRATEGY", git_strategy)] + [_variable(key, value) for key, value in (variables or {}).items()]
    return {
        "id": job_id,
        "token": token,
        "allow_git_fetch": True,
        "job_info": {
            "id": job_id,
            "name": name,
            "stage": "deploy",
            "pipeline_id": pipeline_id,
            "project_id": _number(project),
            "project_name": project_name,
            "project_full_path": project,
            "namespace_id": _number(namespace),
            "root_namespace_id": _number(namespace.split("/")[0]),
            "organization_id": 1,
            "instance_id": "7f3b1c52",
            "instance_uuid": "0a5e3c6e-93d1-4bb8-8f0b-6f2f3f7f1c11",
            "user_id": 17,
            "scoped_user_id": None,
            "time_in_queue_seconds": 0,
            "project_jobs_running_on_instance_runners_count": "0",
            "queue_size": 0,
            "queue_depth": 0,
        },
        "git_info": {
            "repo_url": f"https://gitlab-ci-token:{token}@{HOST}/{project}.git",
            "repo_object_format": "sha1",
            "ref": "main",
            "sha": "1ecfd275763eff1d6b4844ea3168962458c9f27a",
            "before_sha": "0" * 40,
            "ref_type": "branch",
            "refspecs": [f"+refs/pipelines/{pipeline_id}:refs/pipelines/{pipeline_id}", "+refs/heads/main:refs/remotes/origin/main"],
            "depth": 20,
            "protected": True,
        },
        "runner_info": {"timeout": timeout, "uuid": "c2c5c2a4-4e6f-4d8e-9d8b-0f6f1f0c5b7a", "runner_session_url": None},
        "inputs": [],
        "variables": predefined + own,
        "steps": _steps(script, after_script, timeout),
        "hooks": [],
        "image": None,
        "services": [],
        "artifacts": [],
        "cache": [],
        "credentials": [],
        "dependencies": [],
        "features": {
            "trace_sections": True,
            "token_mask_prefixes": ["glpat-", "glcbt-"],
            "failure_reasons": [
                "unknown_failure", "script_failure", "api_failure", "stuck_or_timeout_failure", "runner_system_failure",
                "missing_dependency_failure", "runner_unsupported", "job_execution_timeout", "runner_interrupted",
            ],
        },
        "policy_options": {},
    }


def _steps(script, after_script, timeout):
    steps = [{"name": "script", "script": list(script), "timeout": timeout, "when": "on_success", "allow_failure": False}]
    if after_script:
        steps.append({"name": "after_script", "script": list(after_script), "timeout": timeout, "when": "always", "allow_failure": True})
    return steps


def _predefined(job_id, pipeline_id, project, name, token, timeout):
    namespace, _, project_name = project.rpartition("/")
    site = f"https://{HOST}"
    values = {
        "CI_PIPELINE_ID": pipeline_id,
        "CI_PIPELINE_URL": f"{site}/{project}/-/pipelines/{pipeline_id}",
        "CI_JOB_ID": job_id,
        "CI_JOB_URL": f"{site}/{project}/-/jobs/{job_id}",
        "CI_JOB_TOKEN": token,
        "CI_JOB_STARTED_AT": "2024-05-14T09:26:53Z",
        "CI_JOB_TIMEOUT": timeout,
        "CI_REGISTRY_USER": "gitlab-ci-token",
        "CI_REGISTRY_PASSWORD": token,
        "CI_REPOSITORY_URL": f"{site}/{project}.git",
        "CI_JOB_NAME": name,
        "CI_JOB_NAME_SLUG": name,
        "CI_JOB_STAGE": "deploy",
        "CI_NODE_TOTAL": 1,
        "CI": "true",
        "GITLAB_CI": "true",
        "CI_SERVER_URL": site,
        "CI_SERVER_HOST": HOST,
        "CI_SERVER_PORT": 443,
        "CI_SERVER_PROTOCOL": "https",
        "CI_SERVER_SHELL_SSH_HOST": HOST,
        "CI_SERVER_SHELL_SSH_PORT": 22,
        "CI_SERVER_NAME": "GitLab",
        "CI_SERVER_VERSION": "17.5.0-ee",
        "CI_SERVER_VERSION_MAJOR": 17,
        "CI_SERVER_VERSION_MINOR": 5,
        "CI_SERVER_VERSION_PATCH": 0,
        "CI_SERVER_REVISION": "5c9d8b0d5a3",
        "CI_API_V4_URL": f"{site}/api/v4",
        "GITLAB_FEATURES": "",
        "GITLAB_USER_ID": 17,
        "GITLAB_USER_EMAIL": "ada@example.com",
        "GITLAB_USER_LOGIN": "ada",
        "GITLAB_USER_NAME": "Ada Lovelace",
        "CI_PROJECT_ID": _number(project),
        "CI_PROJECT_NAME": project_name,
        "CI_PROJECT_TITLE": project_name,
        "CI_PROJECT_PATH": project,
        "CI_PROJECT_PATH_SLUG": project.replace("/", "-"),
        "CI_PROJECT_NAMESPACE": namespace,
        "CI_PROJECT_NAMESPACE_ID": _number(namespace),
        "CI_PROJECT_ROOT_NAMESPACE": namespace.split("/")[0],
        "CI_PROJECT_URL": f"{site}/{project}",
        "CI_PROJECT_VISIBILITY": "private",
        "CI_DEFAULT_BRANCH": "main",
        "CI_CONFIG_PATH": ".gitlab-ci.yml",
        "CI_PIPELINE_IID": 42,
        "CI_PIPELINE_SOURCE": "push",
        "CI_PIPELINE_CREATED_AT": "2024-05-14T09:26:50Z",
        "CI_COMMIT_SHA": "1ecfd275763eff1d6b4844ea3168962458c9f27a",
        "CI_COMMIT_SHORT_SHA": "1ecfd275",
        "CI_COMMIT_BEFORE_SHA": "0" * 40,
        "CI_COMMIT_REF_NAME": "main",
        "CI_COMMIT_REF_SLUG": "main",
        "CI_COMMIT_REF_PROTECTED": "true",
        "CI_COMMIT_BRANCH": "main",
        "CI_COMMIT_MESSAGE": "Make it better\n\nA body with 'quotes', \"more\" and a $dollar.\n",
        "CI_COMMIT_TITLE": "Make it better",
        "CI_COMMIT_AUTHOR": "Ada Lovelace <ada@example.com>",
        "CI_COMMIT_TIMESTAMP": "2024-05-14T11:26:40+02:00",
        "CI_RUNNER_ID": 12,
        "CI_RUNNER_DESCRIPTION": "a runner of the tests",
        "CI_RUNNER_TAGS": '["locked"]',
    }
    return [_variable(key, value, masked=value == token) for key, value in values.items()]


def _variable(key, value, masked=False):
    return {"key": key, "value": str(value), "public": not masked, "file": False, "masked": masked, "raw": False}


def _number(text):
    return int(hashlib.sha256(text.encode()).hexdigest()[:6], 16)
