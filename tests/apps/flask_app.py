"""Flask: routing, forms, uploads, streaming, files, cookies, errors."""

import hashlib
import io

from flask import Flask, Response, jsonify, make_response, redirect, request, send_file

app = Flask(__name__)


@app.get("/")
def index():
    return "flask says hello"


@app.get("/items/<int:number>")
def item(number):
    return jsonify(number=number, query=request.args.to_dict())


@app.post("/digest")
def digest():
    body = request.get_data()
    return jsonify(length=len(body), sha256=hashlib.sha256(body).hexdigest())


@app.post("/json")
def echo_json():
    return jsonify(echo=request.get_json())


@app.post("/form")
def form():
    files = {name: [file.filename, len(file.read())] for name, file in request.files.items()}
    return jsonify(fields=request.form.to_dict(), files=files)


@app.get("/headers")
def headers():
    return jsonify({name: value for name, value in request.headers.items() if name.startswith("X-")})


@app.get("/stream")
def stream():
    return Response((f"part {number}\n" for number in range(20)), mimetype="text/plain")


@app.get("/file")
def file():
    return send_file(__file__, mimetype="text/plain", etag=False, last_modified=None, conditional=False)


@app.get("/memory")
def memory():
    return send_file(io.BytesIO(b"from memory"), mimetype="text/plain")


@app.get("/cookies")
def cookies():
    response = make_response("two cookies")
    response.set_cookie("one", "1")
    response.set_cookie("two", "2")
    return response


@app.get("/redirect")
def redirected():
    return redirect("/items/1")


@app.get("/crash")
def crash():
    raise RuntimeError("this view always fails")
