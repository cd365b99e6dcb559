"""Django over ASGI (`app`) and WSGI (`wsgi`) in one file: sync and async views, forms, uploads, streaming, cookies, errors, middleware."""

import asyncio
import hashlib
import json

import django
from django.conf import settings

settings.configure(
    DEBUG=False,
    SECRET_KEY="only for tests",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.gzip.GZipMiddleware",
    ],
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,
    USE_TZ=True,
)
django.setup()

from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import (  # noqa: E402
    Http404,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.urls import path  # noqa: E402


def index(request):
    return HttpResponse("django says hello", content_type="text/plain")


async def in_async(request):
    await asyncio.sleep(0)
    return JsonResponse({"method": request.method, "path": request.path, "query": request.GET.dict()})


def item(request, number):
    return JsonResponse({"number": number})


def headers(request):
    return JsonResponse({name: value for name, value in request.headers.items() if name.startswith("X-")})


def digest(request):
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    return JsonResponse({"length": len(request.body), "sha256": hashlib.sha256(request.body).hexdigest()})


async def echo_json(request):
    return JsonResponse({"echo": json.loads(request.body)})


def form(request):
    files = {name: [file.name, file.size] for name, file in request.FILES.items()}
    return JsonResponse({"fields": request.POST.dict(), "files": files})


async def stream(request):
    async def parts():
        for number in range(20):
            yield f"part {number}\n".encode()
            await asyncio.sleep(0)

    # Django 4.2 and later stream asynchronous iterators.
    return StreamingHttpResponse(parts(), content_type="text/plain")


def cookies(request):
    response = HttpResponse("two cookies", content_type="text/plain")
    response.set_cookie("one", "1")
    response.set_cookie("two", "2")
    return response


def redirect(request):
    return HttpResponseRedirect("/items/1")


def missing(request):
    raise Http404("no such thing")


def crash(request):
    raise RuntimeError("this view always fails")


urlpatterns = [
    path("", index),
    path("async", in_async),
    path("items/<int:number>", item),
    path("headers", headers),
    path("digest", digest),
    path("json", echo_json),
    path("form", form),
    path("stream", stream),
    path("cookies", cookies),
    path("redirect", redirect),
    path("missing", missing),
    path("crash", crash),
]

app = get_asgi_application()
wsgi = get_wsgi_application()
