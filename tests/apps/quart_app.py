"""Quart: routing, JSON, forms, uploads, streaming both ways, files, cookies, errors."""

import hashlib
import io

from quart import Quart, Response, jsonify, make_response, redirect, request, send_file

app = Quart(__name__)


@app.before_serving
async def start():
    app.greeting = "hello from start-up"


@app.get("/")
async def index():
    return app.greeting


@app.get("/items/<int:number>")
async def item(number):
    return jsonify(number=number, query=request.args.to_dict())


@app.post("/json")
async def echo_json():
    return jsonify(echo=await request.get_json())


@app.post("/digest")
async def digest():
    length, sha = 0, hashlib.sha256()
    async for part in request.body:
        length += len(part)
        sha.update(part)
    return jsonify(length=length, sha256=sha.hexdigest())


@app.post("/form")
async def form():
    fields = await request.form
    files = {name: [file.filename, len(file.read())] for name, file in (await request.files).items()}
    return jsonify(fields=fields.to_dict(), files=files)


@app.get("/stream")
async def stream():
    async def parts():
        for number in range(20):
            yield f"part {number}\n".encode()

    return Response(parts(), content_type="text/plain")


@app.get("/file")
async def file():
    return await send_file(io.BytesIO(b"0123456789" * 1000), mimetype="application/octet-stream")


@app.get("/cookies")
async def cookies():
    response = await make_response("two cookies")
    response.set_cookie("one", "1")
    response.set_cookie("two", "2")
    return response


@app.get("/redirect")
async def elsewhere():
    return redirect("/items/1")


@app.get("/crash")
async def crash():
    raise RuntimeError("this route always fails")
