"""Starlette: routes, parameters, JSON, forms, uploads, streaming, errors, middleware, state of the lifespan, background tasks."""

import asyncio
import contextlib
import hashlib

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

BACKGROUND = []


@contextlib.asynccontextmanager
async def lifespan(app):
    yield {"greeting": "hello from the lifespan"}


class AddHeader(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        response = await call_next(request)
        response.headers["x-middleware"] = "seen"
        return response


async def index(request):
    return PlainTextResponse("starlette says hello")


async def item(request):
    return JSONResponse({"item": request.path_params["number"], "query": dict(request.query_params)})


async def headers(request):
    return JSONResponse({"seen": [[name, value] for name, value in request.headers.items() if name.startswith("x-")]})


async def scope(request):
    kept = ("type", "http_version", "method", "scheme", "path", "root_path")
    fields = {name: request.scope[name] for name in kept}
    fields["raw_path"] = request.scope["raw_path"].decode("latin-1")
    fields["query_string"] = request.scope["query_string"].decode("latin-1")
    return JSONResponse(fields)


async def state(request):
    return JSONResponse({"greeting": request.state.greeting})


async def echo(request):
    body = await request.body()
    return Response(body, media_type=request.headers.get("content-type", "application/octet-stream"))


async def digest(request):
    sha, length = hashlib.sha256(), 0
    async for chunk in request.stream():
        sha.update(chunk)
        length += len(chunk)
    return JSONResponse({"length": length, "sha256": sha.hexdigest()})


async def form(request):
    async with request.form() as fields:
        result = {}
        for name, value in fields.items():
            result[name] = value if isinstance(value, str) else {"file": value.filename, "size": len(await value.read())}
    return JSONResponse(result)


async def stream(request):
    async def parts():
        for number in range(20):
            yield f"part {number}\n"
            await asyncio.sleep(0)

    return StreamingResponse(parts(), media_type="text/plain")


async def large(request):
    return PlainTextResponse("0123456789abcdef" * 65536)


async def file(request):
    return FileResponse(__file__, media_type="text/x-python")


async def redirect(request):
    return RedirectResponse("/items/1", status_code=307)


async def no_content(request):
    return Response(status_code=204)


async def cookies(request):
    response = PlainTextResponse("two cookies")
    response.set_cookie("one", "1")
    response.set_cookie("two", "2")
    return response


async def background(request):
    return JSONResponse({"done_before": len(BACKGROUND) >= 0}, background=BackgroundTask(BACKGROUND.append, 1))


async def teapot(request):
    raise HTTPException(418, "short and stout")


async def crash(request):
    raise RuntimeError("this route always fails")


app = Starlette(
    routes=[
        Route("/", index),
        Route("/items/{number:int}", item),
        Route("/headers", headers),
        Route("/scope/{rest:path}", scope),
        Route("/state", state),
        Route("/echo", echo, methods=["POST", "PUT"]),
        Route("/digest", digest, methods=["POST"]),
        Route("/form", form, methods=["POST"]),
        Route("/stream", stream),
        Route("/large", large),
        Route("/file", file),
        Route("/redirect", redirect),
        Route("/nothing", no_content),
        Route("/cookies", cookies),
        Route("/background", background),
        Route("/teapot", teapot),
        Route("/crash", crash),
    ],
    middleware=[Middleware(AddHeader), Middleware(GZipMiddleware, minimum_size=500)],
    lifespan=lifespan,
)
