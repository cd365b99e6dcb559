"""Litestar: typed handlers, validation, uploads, streaming, state, errors, its own schema."""

import hashlib
from dataclasses import dataclass
from typing import Annotated

from litestar import Litestar, Response, get, post
from litestar.datastructures import Cookie, State, UploadFile
from litestar.enums import RequestEncodingType
from litestar.exceptions import HTTPException
from litestar.params import Body
from litestar.response import Redirect, Stream


@dataclass
class Order:
    name: str
    count: int = 1


async def start(app: Litestar) -> None:
    app.state.greeting = "hello from start-up"


@get("/", media_type="text/plain")
async def index(state: State) -> str:
    return state.greeting


@get("/items/{number:int}")
async def item(number: int, verbose: bool = False) -> dict:
    return {"number": number, "verbose": verbose}


@post("/orders")
async def order(data: Order) -> Order:
    return data


@post("/upload")
async def upload(data: Annotated[UploadFile, Body(media_type=RequestEncodingType.MULTI_PART)]) -> dict:
    body = await data.read()
    return {"name": data.filename, "size": len(body), "sha256": hashlib.sha256(body).hexdigest()}


@get("/stream")
async def stream() -> Stream:
    async def parts():
        for number in range(20):
            yield f"part {number}\n".encode()

    return Stream(parts(), media_type="text/plain")


@get("/cookies", media_type="text/plain")
async def cookies() -> Response[str]:
    return Response("two cookies", cookies=[Cookie(key="one", value="1"), Cookie(key="two", value="2")])


@get("/redirect")
async def elsewhere() -> Redirect:
    return Redirect("/items/1")


@get("/teapot")
async def teapot() -> None:
    raise HTTPException("no coffee here", status_code=418, headers={"X-Reason": "tea"})


@get("/crash")
async def crash() -> None:
    raise RuntimeError("this route always fails")


app = Litestar(
    [index, item, order, upload, stream, cookies, elsewhere, teapot, crash],
    on_startup=[start],
)
