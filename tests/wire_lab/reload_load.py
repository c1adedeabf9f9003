# SPDX-License-Identifier: BSL-1.0
"""Requests without pause until a line comes on the standard input: reload_load.py ADDRESS PORT KEPT NEW [PORT...]. KEPT connections are kept and used again and
again; NEW workers make a connection for each request, to the ports in turn. Prints what became of them as JSON."""
import asyncio
import json
import sys
import time

REQUEST = b"GET /one HTTP/1.1\r\nHost: lab\r\n%s\r\n"


class Load:
    def __init__(self, address, ports):
        self.address, self.ports = address, ports
        self.stopped = False
        self.requests, self.failures, self.longest = {"kept": 0, "new": 0}, [], 0.0

    async def ask(self, reader, writer, last):
        writer.write(REQUEST % (b"Connection: close\r\n" if last else b""))
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise ValueError(head.split(b"\r\n")[0].decode())
        length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        await reader.readexactly(length)

    async def one(self, kind, work):
        begin = time.monotonic()
        try:
            await asyncio.wait_for(work, 10)
            self.requests[kind] += 1
        except (OSError, ValueError, EOFError, asyncio.TimeoutError) as e:
            self.failures.append(f"{kind}: {type(e).__name__} {e}")
            return False
        finally:
            self.longest = max(self.longest, time.monotonic() - begin)
        return True

    async def kept(self):
        reader, writer = await asyncio.open_connection(self.address, self.ports[0])
        while not self.stopped and await self.one("kept", self.ask(reader, writer, False)):
            await asyncio.sleep(0.2)
        writer.close()

    async def fresh(self, port):
        reader, writer = await asyncio.open_connection(self.address, port)
        try:
            await self.ask(reader, writer, True)
        finally:
            writer.close()

    async def new(self, number):
        while not self.stopped:
            number += 1
            await self.one("new", self.fresh(self.ports[number % len(self.ports)]))

    async def run(self, kept, new):
        workers = [asyncio.ensure_future(self.kept()) for _ in range(kept)] + [asyncio.ensure_future(self.new(n)) for n in range(new)]
        await asyncio.sleep(0.3)
        print("running", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        self.stopped = True
        await asyncio.gather(*workers)
        print(json.dumps({"requests": self.requests, "failed": len(self.failures), "first": self.failures[:5], "longest_s": round(self.longest, 3)}))


def main():
    address, port, kept, new, *more = sys.argv[1:]
    asyncio.run(Load(address, [int(port), *map(int, more)]).run(int(kept), int(new)))


main()
