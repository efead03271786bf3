"""A DynamoDB Local that has run for a while: Java compiles what is used often, and a young server takes four times as long for a request."""

import http.client
import json
import statistics
import time
from urllib.parse import urlsplit

import dynamodb  # of tests/runner

TIMES = 6000
LAST = 500
# As large as a lock's item with one holder, and written under a condition as its grants are.
VALUE = {"M": {"Token": {"S": "0" * 36}, "Owner": {"S": "o" * 80}, "Who": {"M": {f"Key{n}": {"S": "w" * 60} for n in range(6)}}}}
WRITE = {
    "Key": {"LockID": {"S": "bench/warm"}},
    "UpdateExpression": "SET #a = :a, #rev = :rev REMOVE #b",
    "ConditionExpression": "attribute_not_exists(LockID) OR #rev < :rev",
    "ExpressionAttributeNames": {"#a": "Holders", "#b": "Queue", "#rev": "Rev"},
    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
}


def warm_up(options):
    """Writes until the server is quick. Returns the seconds that a write takes then, without a way to it: the median of the last ones."""
    parts = urlsplit(options.endpoint_url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    headers = dynamodb.headers("UpdateItem")
    times = []
    with dynamodb.table(options):
        for n in range(TIMES):
            body = WRITE | {"TableName": options.table, "ExpressionAttributeValues": {":a": VALUE, ":rev": {"N": str(n)}}}
            begun = time.monotonic()
            connection.request("POST", "/", json.dumps(body), headers)
            reply = connection.getresponse()
            text = reply.read()
            if reply.status != 200:
                raise RuntimeError(f"DynamoDB Local answers {reply.status}: {text[:200]}")
            times.append(time.monotonic() - begun)
    connection.close()
    return statistics.median(times[-LAST:])
