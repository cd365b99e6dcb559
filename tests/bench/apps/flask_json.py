"""One JSON route of Flask."""

from flask import Flask, jsonify

app = Flask(__name__)


@app.get("/items/<int:number>")
def item(number):
    return jsonify(number=number)
