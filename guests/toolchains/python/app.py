"""The guest in Python: componentize-py's bindings, and the event loop that they come with."""

import asyncio

from componentize_py_types import Ok
from poll_loop import PollLoop, Sink, Stream
from wit_world import exports
from wit_world.imports.types import (
    Fields,
    IncomingRequest,
    Method_Get,
    Method_Post,
    OutgoingResponse,
    ResponseOutparam,
)

requests = 0


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        loop = PollLoop()
        asyncio.set_event_loop(loop)
        loop.run_until_complete(answer(request, response_out))


async def answer(request: IncomingRequest, response_out: ResponseOutparam) -> None:
    global requests
    requests += 1
    method = request.method()
    fields = Fields.from_list([("x-requests", str(requests).encode())])
    response = OutgoingResponse(fields)
    if not isinstance(method, (Method_Get, Method_Post)):
        response.set_status_code(405)
    sink = Sink(response.body())
    ResponseOutparam.set(response_out, Ok(response))
    if isinstance(method, Method_Get):
        await sink.send(b"Hello, world!\n")
    elif isinstance(method, Method_Post):
        stream = Stream(request.consume())
        while chunk := await stream.next():
            await sink.send(chunk)
    sink.close()
