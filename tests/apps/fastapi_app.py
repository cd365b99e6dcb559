"""FastAPI: models, validation, dependencies, sync and async routes, uploads, streaming, errors."""

import contextlib
import hashlib
from typing import List, Optional

from fastapi import Depends, FastAPI, File, Form, Header, HTTPException, Request, UploadFile
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel


class Order(BaseModel):
    name: str
    count: int = 1
    tags: List[str] = []


class OutOfStock(Exception):
    pass


@contextlib.asynccontextmanager
async def lifespan(app):
    app.state.greeting = "hello from the lifespan"
    yield


app = FastAPI(lifespan=lifespan)


@app.exception_handler(OutOfStock)
async def out_of_stock(request, error):
    return JSONResponse({"error": "out of stock"}, status_code=409)


async def caller(x_caller: Optional[str] = Header(default=None)):
    return x_caller or "nobody"


@app.get("/")
async def index(request: Request):
    return {"greeting": request.app.state.greeting}


@app.get("/sync")
def in_a_thread():
    return {"ran": "in a thread of the pool"}


@app.get("/items/{number}")
async def item(number: int, verbose: bool = False, who: str = Depends(caller)):
    return {"number": number, "verbose": verbose, "who": who}


@app.post("/orders", status_code=201)
async def order(order: Order):
    return order


@app.post("/orders/none")
async def no_stock(order: Order):
    raise OutOfStock()


@app.post("/upload")
async def upload(file: UploadFile = File(), note: str = Form(default="")):
    body = await file.read()
    return {"name": file.filename, "size": len(body), "sha256": hashlib.sha256(body).hexdigest(), "note": note}


@app.get("/stream")
async def stream():
    async def parts():
        for number in range(50):
            yield f'{{"part": {number}}}\n'.encode()

    return StreamingResponse(parts(), media_type="application/x-ndjson")


@app.get("/forbidden")
async def forbidden():
    raise HTTPException(403, "not for you", headers={"X-Reason": "policy"})


@app.get("/crash")
async def crash():
    raise RuntimeError("this route always fails")


@app.delete("/items/{number}", status_code=204)
async def delete(number: int):
    return None
