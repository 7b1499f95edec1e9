"""Every address of the site is in jobs/urls.py."""

from django.urls import include, path

urlpatterns = [path("", include("jobs.urls"))]

handler400 = "jobs.views.errors.bad_request"
handler403 = "jobs.views.errors.forbidden"
handler404 = "jobs.views.errors.not_found"
handler500 = "jobs.views.errors.server_error"
