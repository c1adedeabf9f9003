# SPDX-License-Identifier: BSL-1.0
"""Many short connections at once, real stacks at both ends.

crowd.py serve PORT
crowd.py connect ADDRESS PORT COUNT [AT_ONCE 32]           COUNT of them, each must succeed
crowd.py trickle ADDRESS PORT SECONDS [PER_SECOND 50]      one after the other, each must succeed; ends early on SIGTERM
"""
import asyncio
import signal
import socket
import sys
import time

TIMEOUT_S = 60
QUESTION, ANSWER = b"question\n", b"answer\n"


async def answer(reader, writer):
    try:
        if await reader.readline() == QUESTION:
            writer.write(ANSWER)
            await writer.drain()
    except OSError:
        pass
    writer.close()


async def serve(port):
    listener = socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True, backlog=4096)
    async with await asyncio.start_server(answer, sock=listener, backlog=4096) as server:
        await server.serve_forever()


async def once(address, port):
    """The seconds it took; an exception when it failed."""
    begin = time.monotonic()
    async with asyncio.timeout(TIMEOUT_S):
        reader, writer = await asyncio.open_connection(address, port)
        writer.write(QUESTION)
        if await reader.readline() != ANSWER:
            raise OSError("no answer")
        writer.close()
        await writer.wait_closed()
    return time.monotonic() - begin


def summed_up(results):
    failed = [repr(r) for r in results if not isinstance(r, float)]
    took = sorted(r for r in results if isinstance(r, float)) or [0.0]
    print(f"{len(results)} connections, {len(failed)} failed; median {took[len(took) // 2] * 1000:.1f} ms, "
          f"longest {took[-1] * 1000:.0f} ms", *failed[:3], flush=True)
    return 1 if failed or not results else 0


async def connect(address, port, count, at_once="32"):
    gate = asyncio.Semaphore(int(at_once))

    async def one():
        async with gate:
            return await once(address, int(port))
    begin = time.monotonic()
    results = await asyncio.gather(*(one() for _ in range(int(count))), return_exceptions=True)
    print(f"{len(results) / (time.monotonic() - begin):.0f} connections/s:", end=" ")
    return summed_up(results)


async def trickle(address, port, seconds, per_second="50"):
    stop, running = asyncio.Event(), []
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end and not stop.is_set():
        running.append(asyncio.create_task(once(address, int(port))))
        await asyncio.sleep(1 / float(per_second))
    return summed_up(await asyncio.gather(*running, return_exceptions=True))


COMMANDS = {"serve": serve, "connect": connect, "trickle": trickle}
if len(sys.argv) < 3 or sys.argv[1] not in COMMANDS:
    sys.exit(__doc__)
sys.exit(asyncio.run(COMMANDS[sys.argv[1]](*sys.argv[2:])))
