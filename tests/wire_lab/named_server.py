# SPDX-License-Identifier: BSL-1.0
"""named_server.py NAME PORT [PORT...]: HTTP on every address. GET answers with the name and the client's address, POST with the name and the
SHA-256 of what came."""
import hashlib
import http.server
import socket
import sys
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    name = ""

    def answer(self, text):
        body = (text + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(f"{self.name} {self.client_address[0].removeprefix('::ffff:')}")

    def do_POST(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(f"{self.name} {hashlib.sha256(content).hexdigest()}")

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 128


def main(name, *ports):
    Handler.name = name
    servers = [Server(("::", int(port)), Handler) for port in ports]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
