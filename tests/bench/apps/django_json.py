"""One JSON view of Django, with the middleware that every project has."""

import django
from django.conf import settings

settings.configure(
    DEBUG=False,
    SECRET_KEY="only for the bench",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402


def item(request, number):
    return JsonResponse({"number": number})


urlpatterns = [path("items/<int:number>", item)]
app = get_wsgi_application()
