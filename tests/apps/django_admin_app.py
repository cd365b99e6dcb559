"""Django with its admin, sessions, CSRF and a database, over ASGI (`app`) and WSGI (`wsgi`); files go up and come down."""

import os

import django
from django.conf import settings

DATABASE = os.path.abspath(os.environ.get("DATABASE", "ours") + ".sqlite3")
UPLOADS = os.path.abspath(os.environ.get("DATABASE", "ours") + ".uploads")

settings.configure(
    DEBUG=False,
    SECRET_KEY="only for tests",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    STATIC_URL="/static/",
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.staticfiles",
    ],
    # Tables from the models: dozens of migrations would only cost time.
    MIGRATION_MODULES={"admin": None, "auth": None, "contenttypes": None, "sessions": None},
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATABASE}},
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
)
django.setup()

from django.contrib import admin  # noqa: E402
from django.contrib.auth.decorators import login_required  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import FileResponse, JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402

if not os.path.exists(DATABASE):
    os.makedirs(UPLOADS)
    call_command("migrate", run_syncdb=True, verbosity=0)
    User.objects.create_superuser("admin", "admin@example.org", "secret")


@login_required(login_url="/admin/login/")
def upload(request):
    file = request.FILES["file"]
    with open(os.path.join(UPLOADS, "kept"), "wb") as kept:
        for chunk in file.chunks():
            kept.write(chunk)
    return JsonResponse({"name": file.name, "size": file.size, "by": request.user.username})


@login_required(login_url="/admin/login/")
def download(request):
    return FileResponse(open(os.path.join(UPLOADS, "kept"), "rb"), as_attachment=True, filename="kept.bin")


urlpatterns = [path("admin/", admin.site.urls), path("upload", upload), path("download", download)]

app = get_asgi_application()
wsgi = get_wsgi_application()
