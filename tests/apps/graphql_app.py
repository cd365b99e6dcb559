"""A GraphQL endpoint (Strawberry) and a stream of server-sent events (Starlette)."""

import asyncio

import strawberry
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route
from strawberry.asgi import GraphQL

NOTES = ["first"]


@strawberry.type
class Note:
    number: int
    text: str


@strawberry.type
class Query:
    @strawberry.field
    async def notes(self) -> list[Note]:
        await asyncio.sleep(0)
        return [Note(number=number, text=text) for number, text in enumerate(NOTES)]

    @strawberry.field
    def fails(self) -> int:
        raise ValueError("this field always fails")


@strawberry.type
class Mutation:
    @strawberry.mutation
    def add(self, text: str) -> Note:
        return Note(number=len(NOTES), text=text)


released = asyncio.Event()


async def events(request):
    async def parts():
        for number in range(3):
            yield f"id: {number}\nevent: tick\ndata: tick {number}\n\n"
            if "held" in request.query_params and number == 0:
                await released.wait()

    return StreamingResponse(parts(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def release(request):
    released.set()
    return PlainTextResponse("released")


app = Starlette(
    routes=[
        Route("/events", events),
        Route("/release", release, methods=["POST"]),
        Mount("/graphql", GraphQL(strawberry.Schema(Query, Mutation))),
    ]
)
