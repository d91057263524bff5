"""Somebody who reads the page without scripts."""

from aiohttp.test_utils import TestClient

from tests.web.document import Element, parse


class Reader:
    """Somebody with a browser."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    async def get(self, path: str, status: int = 200, **headers: str) -> Element:
        async with self.client.get(path, headers=headers, allow_redirects=False) as response:
            assert response.status == status, await response.text()
            return parse(await response.text())

    async def leads_to(self, path: str) -> str:
        async with self.client.get(path, allow_redirects=False) as response:
            assert response.status == 303
            return response.headers["Location"]

    async def send(self, path: str, status: int, headers=None, **form: str) -> Element | str:
        async with self.client.post(path, data=form, headers=headers, allow_redirects=False) as response:
            assert response.status == status, await response.text()
            return response.headers["Location"] if status == 303 else parse(await response.text())
