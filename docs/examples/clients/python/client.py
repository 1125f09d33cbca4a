"""SoulBox's plain HTTP API with Python's standard library."""

import json
import os
import urllib.request

URL = os.environ["SOULBOX_URL"] + "/v1"
KEY = os.environ["SOULBOX_API_KEY"]


def call(method, path, body=None):
    """Send a request; body is sent as it is when it is bytes, else as JSON. Errors are urllib.error.HTTPError."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {KEY}"}
    if data is not None:
        headers["Content-Type"] = "application/octet-stream" if data is body else "application/json"
    return urllib.request.urlopen(urllib.request.Request(URL + path, data, headers, method=method))


# A program, from its start to its end.
with call("POST", "/executions", {"language": "python", "code": "print(6 * 7)"}) as answer:
    result = json.load(answer)
print(f"the program printed {result['stdout'].rstrip()}, verdict {result['verdict']}")

# A program whose output comes as it is printed: one event a line.
with call("POST", "/executions:stream", {"language": "python", "code": "for i in range(3): print('step', i)"}) as events:
    for line in events:
        event = json.loads(line)
        if "stdout" in event:
            print(event["stdout"]["text"], end="", flush=True)

# A sandbox lives until it is deleted, or for its timeout.
with call("POST", "/sandboxes", {"timeout": "60s"}) as answer:
    sandbox = "/sandboxes/" + json.load(answer)["id"]
try:
    # A file's content is the body, as it is.
    call("PUT", sandbox + "/files?path=note.txt", b"hello").close()
    with call("GET", sandbox + "/files?path=note.txt") as content:
        print("note.txt holds", content.read().decode())

    # A command answers when it has ended; over Connect and gRPC its output can be followed.
    with call("POST", sandbox + ":exec", {"shell": "wc -c note.txt; exit 3"}) as answer:
        ended = json.load(answer)
    print(f"the command printed {ended['stdout'].rstrip()}, exit code {ended['exitCode']}")
finally:
    with call("DELETE", sandbox) as answer:
        print("the sandbox is gone:", json.load(answer)["state"])
