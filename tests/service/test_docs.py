"""`/docs` works without the network, and runs nobody else's code beside the dashboard."""

from __future__ import annotations

import re
from urllib.parse import urljoin

from fastapi.testclient import TestClient

from service.docs import HEADERS

POLICY = HEADERS["Content-Security-Policy"]


def test_the_page_of_the_api_names_no_other_host(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.headers["Content-Security-Policy"] == POLICY
    assert "//" not in page.text + POLICY
    files = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(files) == 3
    for file in files:
        answer = client.get(urljoin("/docs", file))
        assert answer.status_code == 200
        assert answer.headers["Content-Security-Policy"] == POLICY
        kind = "text/css" if file.endswith(".css") else "text/javascript"
        assert answer.headers["Content-Type"] == f"{kind}; charset=utf-8"
    assert "//" not in client.get("/docs/start.js").text
    assert client.get("/redoc").status_code == 404
    assert client.get("/docs/redoc.standalone.js").status_code == 422


def test_swagger_ui_reads_documents_of_our_version(client: TestClient) -> None:
    assert client.get("/openapi.json").json()["openapi"].startswith("3.1")
    script = client.get("/docs/swagger-ui-bundle.js")
    version = re.search(r'PACKAGE_VERSION:"(\d+)', script.text)
    assert version
    assert int(version[1]) >= 5
    again = client.get(
        "/docs/swagger-ui-bundle.js", headers={"If-None-Match": script.headers["ETag"]}
    )
    assert (again.status_code, again.content) == (304, b"")
