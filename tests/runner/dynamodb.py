"""A table of its own for one run of the tests, on a DynamoDB stand-in that does not check signatures."""

import contextlib
import json
import urllib.request
import uuid


@contextlib.contextmanager
def table(options):
    """Creates the table that options.table then names, and deletes it at the end; does nothing for another store."""
    options.table = None
    if options.store != "dynamodb":
        yield
        return
    options.table = f"runner-test-{uuid.uuid4().hex[:12]}"
    _call(options.endpoint_url, "CreateTable", {
        "TableName": options.table,
        "AttributeDefinitions": [{"AttributeName": "LockID", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "LockID", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    })
    try:
        yield
    finally:
        _call(options.endpoint_url, "DeleteTable", {"TableName": options.table})


def headers(action):
    """Those of a request for `action`."""
    credential = "test/20240514/eu-central-1/dynamodb/aws4_request"
    return {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": f"DynamoDB_20120810.{action}",
        "X-Amz-Date": "20240514T092653Z",
        "Authorization": f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0",
    }


def _call(endpoint_url, action, body):
    request = urllib.request.Request(endpoint_url, json.dumps(body).encode(), headers(action))
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply)
