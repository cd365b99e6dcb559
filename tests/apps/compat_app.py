"""What an application may rely on in a worker: asyncio, anyio and the ASGI contract, one check a path.

`/checks` lists the names; `/check/NAME` runs one and answers "ok", or 500 with the traceback.
"""

import asyncio
import contextvars
import gc
import os
import signal
import sys
import traceback
import weakref

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

CHECKS = {}
REQUEST = contextvars.ContextVar("request", default="unset")
OUTSIDE = contextvars.ContextVar("outside", default="unset")
OUTSIDE.set("set on import")
EVENTS = []
KEPT = []
WEAKLY_KEPT = []


def check(function):
    CHECKS[function.__name__] = function
    return function


@check
async def current_task_is_a_real_task(scope, receive, send):
    task = asyncio.current_task()
    assert isinstance(task, asyncio.Task) and isinstance(task, asyncio.tasks._CTask)
    assert task in asyncio.all_tasks()
    assert not task.done() and task.get_coro() is not None
    repr(task), task.get_stack(), task.get_name()
    await asyncio.sleep(0)
    assert asyncio.current_task() is task and task in asyncio.all_tasks()
    assert task.get_loop() is asyncio.get_running_loop()


@check
async def the_task_is_listed_in_its_first_step(scope, receive, send):
    tasks = asyncio.all_tasks()
    assert asyncio.current_task() in tasks and all(isinstance(task, asyncio.Task) for task in tasks)
    assert type(asyncio.current_task()) is asyncio.Task


@check
async def a_task_that_is_kept_ends(scope, receive, send):
    for kept in KEPT:
        assert kept.done() and kept.exception() is None and kept not in asyncio.all_tasks()
    for reference in WEAKLY_KEPT:
        kept = reference()
        assert kept is None or kept.done()
    KEPT.clear()
    WEAKLY_KEPT.clear()


@check
async def the_task_may_be_kept(scope, receive, send):
    KEPT.append(asyncio.current_task())
    WEAKLY_KEPT.append(weakref.ref(asyncio.current_task()))


@check
async def the_task_may_be_kept_weakly(scope, receive, send):
    WEAKLY_KEPT.append(weakref.ref(asyncio.current_task(), lambda _: None))
    registry = weakref.WeakKeyDictionary()
    registry[asyncio.current_task()] = 1


@check
async def the_task_may_be_touched_and_end(scope, receive, send):
    task = asyncio.current_task()
    done = []
    task.add_done_callback(done.append)
    task.set_name("touched")
    assert task.get_name() == "touched" and "touched" in repr(task)
    KEPT.append(task)


@check
async def a_cancel_in_the_first_step_arrives_at_the_first_wait(scope, receive, send):
    inner = asyncio.ensure_future(asyncio.sleep(30))
    asyncio.current_task().cancel()
    try:
        await inner
    except asyncio.CancelledError:
        pass
    else:
        raise AssertionError("not cancelled")
    assert inner.cancelled()
    if sys.version_info >= (3, 11):
        assert asyncio.current_task().cancelling() == 1 and asyncio.current_task().uncancel() == 0
    await asyncio.sleep(0)


@check
async def context_set_before_and_after_a_touch_stays(scope, receive, send):
    REQUEST.set("before")
    asyncio.current_task().get_name()
    REQUEST.set("after")
    await asyncio.sleep(0)
    assert REQUEST.get() == "after"
    assert await asyncio.get_running_loop().run_in_executor(None, contextvars.copy_context().get, REQUEST) == "after"


@check
async def loop_is_unpatched(scope, receive, send):
    loop = asyncio.get_running_loop()
    assert "call_soon" not in loop.__dict__
    assert asyncio.get_event_loop() is loop and loop.is_running()
    ran = loop.create_future()
    loop.call_soon(ran.set_result, 1)
    assert await ran == 1
    ran = loop.create_future()
    loop.call_later(0.001, ran.set_result, 2)
    assert await ran == 2


@check
async def timeouts(scope, receive, send):
    try:
        await asyncio.wait_for(asyncio.sleep(30), 0.01)
    except asyncio.TimeoutError:
        pass
    else:
        raise AssertionError("no timeout")
    if sys.version_info >= (3, 11):
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(30)
        except TimeoutError:
            pass
        else:
            raise AssertionError("no timeout")
        assert asyncio.current_task().cancelling() == 0


@check
async def task_groups(scope, receive, send):
    if sys.version_info < (3, 11):
        return
    async with asyncio.TaskGroup() as group:
        one = group.create_task(asyncio.sleep(0.001, "one"))
        two = group.create_task(asyncio.sleep(0, "two"))
    assert one.result() == "one" and two.result() == "two"
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(30))
            group.create_task(fail())
    except BaseException as error:
        assert type(error).__name__ == "ExceptionGroup"
    else:
        raise AssertionError("no exception group")


async def fail():
    raise ValueError("on purpose")


@check
async def anyio_groups_scopes_and_threads(scope, receive, send):
    seen = []

    async def note(value):
        await anyio.sleep(0)
        seen.append(value)

    async with anyio.create_task_group() as group:
        group.start_soon(note, 1)
        group.start_soon(note, 2)
    assert sorted(seen) == [1, 2]
    with anyio.move_on_after(0.01) as scope_:
        await anyio.sleep(30)
    assert scope_.cancelled_caught if hasattr(scope_, "cancelled_caught") else scope_.cancel_called
    with anyio.CancelScope() as scope_:
        scope_.cancel()
        await anyio.sleep(0)
        raise AssertionError("not cancelled")
    assert await anyio.to_thread.run_sync(lambda: anyio.from_thread.run(back)) == "back"


async def back():
    return "back"


@check
async def threads(scope, receive, send):
    if sys.version_info >= (3, 9):
        REQUEST.set("in a thread")
        assert await asyncio.to_thread(REQUEST.get) == "in a thread"
    loop = asyncio.get_running_loop()
    future = await loop.run_in_executor(None, asyncio.run_coroutine_threadsafe, back(), loop)
    assert await asyncio.wrap_future(future) == "back"


@check
async def subprocesses(scope, receive, send):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import os; print(sorted(k for k in os.environ if k.startswith('SUPERVISE_')))",
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0 and output.strip() == b"[]", output


@check
async def signal_handlers(scope, receive, send):
    loop = asyncio.get_running_loop()
    seen = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, seen.set)
    os.kill(os.getpid(), signal.SIGUSR1)
    await asyncio.wait_for(seen.wait(), 5)
    assert loop.remove_signal_handler(signal.SIGUSR1)


@check
async def receive_completes_without_suspending(scope, receive, send):
    awaitable = receive()
    try:
        awaitable.send(None)
    except StopIteration as stop:
        assert stop.value == {"type": "http.request", "body": b"", "more_body": False}, stop.value
    else:
        raise AssertionError("suspended")


@check
async def receive_as_a_task(scope, receive, send):
    await receive()
    waiting = asyncio.create_task(receive())
    done, pending = await asyncio.wait({waiting}, timeout=0.01)
    assert not done and pending
    waiting.cancel()
    try:
        await waiting
    except asyncio.CancelledError:
        pass
    assert waiting.cancelled()
    again = asyncio.ensure_future(receive())
    await asyncio.sleep(0)
    again.cancel()
    try:
        await again
    except asyncio.CancelledError:
        pass


@check
async def a_cancelled_receive_loses_nothing(scope, receive, send):
    waiting = asyncio.create_task(receive())
    waiting.cancel()
    try:
        await waiting
    except asyncio.CancelledError:
        pass
    assert (await receive())["type"] == "http.request"


@check
async def receive_under_cancelled_scope(scope, receive, send):
    # How Starlette's Request.is_disconnected() asks.
    await receive()
    message = {}
    with anyio.CancelScope() as cancelled:
        cancelled.cancel()
        message = await receive()
    assert message == {}


@check
async def context_is_fresh(scope, receive, send):
    assert REQUEST.get() == "unset", REQUEST.get()
    assert OUTSIDE.get() == "set on import", OUTSIDE.get()
    REQUEST.set("leaked")
    await asyncio.sleep(0)
    assert REQUEST.get() == "leaked"


@check
async def scope_is_whole(scope, receive, send):
    assert scope["type"] == "http" and scope["asgi"] == {"version": "3.0", "spec_version": "2.3"}
    assert scope["http_version"] == "1.1" and scope["method"] == "GET" and scope["scheme"] == "http"
    assert scope["raw_path"] == scope["path"].encode() and scope["root_path"] == ""
    assert type(scope["client"]) is tuple and type(scope["client"][1]) is int
    assert type(scope["server"]) is tuple and type(scope["server"][1]) is int
    assert type(scope["headers"]) is list
    offered = {"http.response.early_hint", "http.response.pathsend", "http.response.zerocopysend"}
    assert set(scope["extensions"]) == offered, scope["extensions"]
    assert all(type(n) is bytes and n == n.lower() and type(v) is bytes for n, v in scope["headers"])
    assert scope["state"]["started"] == "yes"
    scope["state"]["touched"] = True
    scope["headers"].append((b"added", b"by the app"))
    scope["extensions"]["added"] = {}


@check
async def scope_is_not_shared(scope, receive, send):
    assert "touched" not in scope["state"] and "added" not in scope["extensions"]
    assert (b"added", b"by the app") not in scope["headers"]


@check
async def wrong_messages_raise(scope, receive, send):
    wrong = [
        ({}, KeyError),
        ({"type": "http.nonsense"}, RuntimeError),
        ({"type": "http.response.body", "body": b""}, RuntimeError),
        ({"type": "http.response.start"}, KeyError),
        ({"type": "http.response.start", "status": "200"}, TypeError),
        ({"type": "http.response.start", "status": 1000}, ValueError),
        ({"type": "http.response.start", "status": 99}, ValueError),
        ({"type": "http.response.start", "status": 200, "headers": [("a", "b")]}, TypeError),
        ({"type": "http.response.start", "status": 200, "headers": [(b"a",)]}, ValueError),
        ({"type": "http.response.start", "status": 200, "headers": [(b"a b", b"")]}, ValueError),
        ({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b\r\nc: d")]}, ValueError),
        ("text", TypeError),
    ]
    for message, kind in wrong:
        try:
            await send(message)
        except kind:
            pass
        else:
            raise AssertionError(f"{message!r} was taken")
    for call in (lambda: send(1, 2), lambda: type(send)()):
        try:
            call()
        except TypeError:
            pass
        else:
            raise AssertionError("wrong call was taken")


@check
async def background_tasks_may_send(scope, receive, send):
    await asyncio.gather(asyncio.sleep(0), asyncio.create_task(asyncio.sleep(0.001)))


async def run_check(scope, receive, send, name):
    try:
        await CHECKS[name](scope, receive, send)
        status, body = 200, b"ok"
    except BaseException:
        status, body = 500, traceback.format_exc().encode()
    await send({"type": "http.response.start", "status": status, "headers": iter([[b"content-type", b"text/plain"]])})
    await send({"type": "http.response.body", "body": body})


class PassThrough(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        response = await call_next(request)
        response.headers["x-middleware"] = "seen"
        return response


async def stream(request):
    async def pieces():
        for number in range(5):
            await asyncio.sleep(0.001)
            yield f"piece {number}\n"

    return StreamingResponse(pieces())


async def endless(request):
    """Streams until the client leaves; `/events` tells how it ended."""

    async def pieces():
        EVENTS.append("begun")
        try:
            while True:
                yield b"x" * 65536
                await asyncio.sleep(0)
        finally:
            EVENTS.append("ended")

    return StreamingResponse(pieces())


async def idle(request):
    """A stream that has nothing to say: only a listener notices that the client left."""

    async def pieces():
        EVENTS.append("begun")
        try:
            yield b"hello"
            await asyncio.sleep(3600)
        finally:
            EVENTS.append("ended")

    return StreamingResponse(pieces())


async def length(request):
    total = 0
    async for piece in request.stream():
        total += len(piece)
    return PlainTextResponse(str(total))


async def poll_disconnect(request):
    EVENTS.append("begun")
    for _ in range(5000):
        if await request.is_disconnected():
            EVENTS.append("ended")
            break
        await asyncio.sleep(0.002)
    return PlainTextResponse("")


async def events(request):
    # A stream that is cancelled while its piece is being sent is closed by the collector alone, under every server.
    gc.collect()
    seen = ",".join(EVENTS)
    EVENTS.clear()
    return PlainTextResponse(seen)


async def raise_error(request):
    raise RuntimeError("on purpose")


framework = Starlette(
    routes=[
        Route("/stream", stream),
        Route("/endless", endless),
        Route("/idle", idle),
        Route("/length", length, methods=["POST"]),
        Route("/events", events),
        Route("/raise", raise_error),
    ],
    middleware=[Middleware(PassThrough)],
)
# BaseHTTPMiddleware breaks Request.is_disconnected() on every server.
without_middleware = Starlette(routes=[Route("/poll_disconnect", poll_disconnect)])


async def raw_disconnect(scope, receive, send):
    """Waits for the client to leave, twice; sending afterwards is silent."""
    EVENTS.append("begun")
    await receive()
    assert await receive() == {"type": "http.disconnect"}
    assert await receive() == {"type": "http.disconnect"}
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"nobody reads this"})
    EVENTS.append("ended")


async def misbehave(scope, receive, send, how):
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]}
    if how == "return_nothing":
        return
    if how == "raise_before":
        raise ValueError("on purpose")
    if how == "raise_base":
        raise SystemExit(7)
    await send(start)
    if how == "raise_after_start":
        raise ValueError("on purpose")
    await send({"type": "http.response.body", "body": b"ab", "more_body": True})
    if how == "raise_in_body":
        await asyncio.sleep(0.05)
        raise ValueError("on purpose")
    if how == "too_long":
        await send({"type": "http.response.body", "body": b"abcdef"})
    await send({"type": "http.response.body", "body": memoryview(b"cd")})
    await send({"type": "http.response.body", "body": b"after the end"})


async def lifespan(scope, receive, send):
    assert (await receive())["type"] == "lifespan.startup"
    scope["state"]["started"] = "yes"
    await send({"type": "lifespan.startup.complete"})
    assert (await receive())["type"] == "lifespan.shutdown"
    print("the application was shut down", flush=True)
    await send({"type": "lifespan.shutdown.complete"})


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(scope, receive, send)
    path = scope["path"]
    if path == "/checks":
        body = "\n".join(CHECKS).encode()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": body})
    elif path.startswith("/check/"):
        await run_check(scope, receive, send, path[len("/check/"):])
    elif path.startswith("/misbehave/"):
        await misbehave(scope, receive, send, path[len("/misbehave/"):])
    elif path == "/raw_disconnect":
        await raw_disconnect(scope, receive, send)
    elif path == "/poll_disconnect":
        await without_middleware(scope, receive, send)
    else:
        await framework(scope, receive, send)
