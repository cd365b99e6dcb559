"""The same chat in three frameworks: a welcome to each member of a room, and every message to all of them; one room is closed."""

import django
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import re_path
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.routing import WebSocketRoute

CLOSED = "closed"


class Room(WebSocketEndpoint):
    encoding = "text"
    members = set()

    async def on_connect(self, websocket):
        if websocket.path_params["room"] == CLOSED:
            await websocket.close()
            return
        await websocket.accept()
        self.members.add(websocket)
        await websocket.send_text("welcome")

    async def on_receive(self, websocket, text):
        for member in self.members:
            await member.send_text(text)

    async def on_disconnect(self, websocket, code):
        self.members.discard(websocket)


of_starlette = Starlette(routes=[WebSocketRoute("/chat/{room}", Room)])

of_fastapi = FastAPI()
members = set()


@of_fastapi.websocket("/chat/{room}")
async def chat(websocket: WebSocket, room: str):
    if room == CLOSED:
        await websocket.close()
        return
    await websocket.accept()
    members.add(websocket)
    await websocket.send_text("welcome")
    try:
        while True:
            text = await websocket.receive_text()
            for member in members:
                await member.send_text(text)
    except WebSocketDisconnect:
        members.discard(websocket)


settings.configure(
    SECRET_KEY="a secret of tests",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
)
django.setup()
urlpatterns = []


class ChatConsumer(AsyncWebsocketConsumer):
    async def connect(self):
        self.room = self.scope["url_route"]["kwargs"]["room"]
        if self.room == CLOSED:
            await self.close()
            return
        await self.channel_layer.group_add(self.room, self.channel_name)
        await self.accept()
        await self.send(text_data="welcome")

    async def disconnect(self, code):
        await self.channel_layer.group_discard(self.room, self.channel_name)

    async def receive(self, text_data=None, bytes_data=None):
        await self.channel_layer.group_send(self.room, {"type": "chat.message", "text": text_data})

    async def chat_message(self, event):
        await self.send(text_data=event["text"])


of_channels = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": URLRouter([re_path(r"^chat/(?P<room>\w+)$", ChatConsumer.as_asgi())]),
    }
)
