"""Calls KMS through a mount's Unix socket, without a signature: a line {"operation",
"parameters"} in, a line {"answer"} or {"error", "message"} out."""
import http.client
import json
import socket
import sys

connection = http.client.HTTPConnection('localhost')
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect(sys.argv[1])
for line in sys.stdin:
    call = json.loads(line)
    connection.request('POST', '/', json.dumps(call['parameters']),
                       {'X-Amz-Target': 'TrentService.' + call['operation'],
                        'Content-Type': 'application/x-amz-json-1.1'})
    response = connection.getresponse()
    answer = json.loads(response.read())
    out = ({'answer': answer} if response.status == 200
           else {'error': answer['__type'], 'message': answer['message']})
    print(json.dumps(out), flush=True)
