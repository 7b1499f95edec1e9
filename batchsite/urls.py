"""Every address of the site is in jobs/web/urls.py, those of accounts in account_urls.py."""

from django.urls import include, path

urlpatterns = [path("", include("jobs.web.urls")), path("", include("jobs.web.account_urls"))]

handler400 = "jobs.web.views.errors.bad_request"
handler403 = "jobs.web.views.errors.forbidden"
handler404 = "jobs.web.views.errors.not_found"
handler500 = "jobs.web.views.errors.server_error"
