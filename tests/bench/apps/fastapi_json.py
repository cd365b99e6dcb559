"""A FastAPI route as the tutorial writes it: a typed path parameter, a typed query parameter, a dict as the answer."""

from typing import Optional

from fastapi import FastAPI

app = FastAPI()


@app.get("/items/{item_id}")
async def read_item(item_id: int, q: Optional[str] = None):
    return {"item_id": item_id, "q": q}
