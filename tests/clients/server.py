"""A local server that answers as the APIs of OpenAI and Anthropic do, and any GET: `server.py PORT`.

Lines on standard input: `hang N` lets the next N requests hang until their connections end, `stop`
closes the listening socket, `start` opens it again. Each is answered by one line.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHAT = {
    "id": "c", "object": "chat.completion", "created": 1, "model": "test",
    "choices": [{"index": 0, "finish_reason": "stop",
                 "message": {"role": "assistant", "content": "hello"}}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
MESSAGE = {
    "id": "m", "type": "message", "role": "assistant", "model": "test", "stop_reason": "end_turn",
    "stop_sequence": None, "content": [{"type": "text", "text": "hello"}],
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
hangs = threading.Semaphore(0)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body):
        if hangs.acquire(blocking=False):
            # Until the peer, or guard, ends the connection.
            self.connection.recv(1)
            self.close_connection = True
            return
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        self.answer({})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(MESSAGE if self.path.endswith("/messages") else CHAT)

    def log_message(self, *arguments):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass


def start(port):
    server = Server(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server


server = start(int(sys.argv[1]))
port = server.server_address[1]
print(port, flush=True)
for line in sys.stdin:
    words = line.split()
    if words[0] == "hang":
        for _ in range(int(words[1])):
            hangs.release()
    elif words[0] == "stop":
        server.shutdown()
        server.server_close()
    elif words[0] == "start":
        server = start(port)
    print("done", flush=True)
