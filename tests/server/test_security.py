"""S34: keys, paths, hosts, names, and texts that would be more than texts."""

from __future__ import annotations

from pathlib import Path

import pytest
from serving import Running, request, running
from small import classifier, save

from filbert.errors import ConfigError
from filbert.server.run import read_key

KEY = "0123456789abcdefXYZ"
EVIL = "<script>alert(1)</script>"


def test_S34_a_key_is_needed(folder: Path) -> None:
    with running([folder], key=KEY) as server:
        for given in ("", f"Bearer {KEY[:-1]}", f"Bearer {KEY}x", f"Basic {KEY}", KEY, "Bearer", "Bearer é"):
            headers = {"authorization": given.encode("utf-8")} if given else {}
            for path in ("/predict", "/models/films", "/models/films/file", "/models/none"):
                answer = server.client.post(path, json={"inputs": "a"}, headers=headers)
                assert answer.status_code == 401, path
                assert answer.headers["www-authenticate"] == "Bearer"
            assert server.client.get("/info", headers=headers).status_code == 401
            assert server.client.get("/metrics", headers=headers).status_code == 401
        right = {"authorization": f"Bearer {KEY}"}
        assert server.client.post("/predict", json={"inputs": "a"}, headers=right).status_code == 200
        assert server.client.get("/health").status_code == 200
        assert "films" not in server.client.get("/").text + server.client.get("/openapi.json").text


def test_S34_no_key_no_address_that_others_reach(tmp_path: Path) -> None:
    assert read_key(None, "127.0.0.1") is None
    assert read_key(None, "::1") is None
    for host in ("0.0.0.0", "::", "10.1.2.3", "example.org", ""):
        with pytest.raises(ConfigError, match="--api-key-file"):
            read_key(None, host)
    for text in ("", "short", "two words that are long enough", "ключключключключключ"):
        (tmp_path / "key").write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match="holds no key"):
            read_key(tmp_path / "key", "127.0.0.1")
    (tmp_path / "key").write_text(KEY + "\n", encoding="utf-8")
    assert read_key(tmp_path / "key", "0.0.0.0") == KEY
    with pytest.raises(ConfigError, match="cannot be read"):
        read_key(tmp_path / "none", "127.0.0.1")


@pytest.mark.parametrize(
    "path",
    [
        *("//predict", "/predict/", "/./predict", "/models/../predict", "/models/..", "/models//predict"),
        *("/models/%2e%2e/predict", "/models/..%2fpredict", "/models/%2e%2e%2f%2e%2e%2fetc%2fpasswd/predict"),
        *("/models/%252e%252e%252fetc/predict", "/models/..%5cpredict", "/models/..\\predict", "/models/%c0%ae%c0%ae"),
        *(
            "/models/films%00/predict",
            "/models/films/../films/predict",
            "/models/%ff/predict",
            "/models/films%2fpredict",
        ),
        *("/models/etc/predict", "/predict?model=../films", "/predict?model=%2fetc", "/admin", "/models", "/x" * 3000),
    ],
)
def test_S34_strange_paths_are_refused(server: Running, path: str) -> None:
    assert server.status_of(request({"inputs": "a"}, path)) in (400, 404)


def test_S34_hosts_and_pages_of_others_are_refused(server: Running) -> None:
    port = server.address[1]
    for host, status in (
        *((f"127.0.0.1:{port}", 200), ("localhost", 200), ("[::1]:80", 200)),
        *(("evil.example", 400), ("127.0.0.1.evil.example", 400), ("localhost.evil.example:80", 400), ("", 400)),
        *(("127.0.0.1@evil.example", 400), ("evil.example:127.0.0.1", 400)),
    ):
        assert server.status_of(request({"inputs": "a"}, host=host)) == status, host
    two = request({"inputs": "a"}).replace(b"\r\n\r\n", b"\r\nhost: evil.example\r\n\r\n", 1)
    assert server.status_of(two) == 400
    for origin, status in ((f"http://127.0.0.1:{port}", 200), ("http://evil.example", 400), ("null", 400)):
        given = request({"inputs": "a"}, host=f"127.0.0.1:{port}", origin=origin)
        assert server.status_of(given) == status, origin
    answer = server.client.options("/predict", headers={"origin": "http://evil.example"})
    assert not any(name.startswith("access-control") for name in answer.headers)


def test_S34_every_answer_is_safe_in_a_browser(server: Running) -> None:
    for path in ("/", "/docs", "/info", "/none"):
        headers = server.client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]


def test_S34_texts_and_labels_stay_what_they_are(tmp_path: Path) -> None:
    folder = save(tmp_path / "evil", classifier(2, hidden=64, intermediate=64), [EVIL, "=1+1"])
    with running([folder]) as server:
        answer = server.post(inputs=EVIL)
        assert answer.headers["content-type"] == "application/json"
        assert {each["label"] for each in answer.json()} == {EVIL, "=1+1"}
        named = server.client.post("/predict", params={"model": EVIL}, json={"inputs": "a"})
        assert (named.status_code, named.headers["content-type"]) == (404, "application/json")
        sheet = server.client.post("/models/evil/file?name=a.csv", content=b"text,x\ngood film,=cmd|' /C calc'!A0\n")
        assert sheet.status_code == 200
        assert "=cmd|' /C calc'!A0" in sheet.text
        assert sheet.headers["content-disposition"].startswith("attachment")


def test_S34_a_files_name_leads_nowhere(server: Running) -> None:
    body = b"text\ngood film\n"
    for name in ("../../etc/passwd.csv", "/etc/x.csv", "a\r\nx: y.csv", "..\\x.csv", "评论.csv"):
        answer = server.client.post("/models/films/file", params={"name": name}, content=body)
        assert answer.status_code == 200
        assert "x" not in [key for key in answer.headers if key == "x"]
        assert "/" not in answer.headers["content-disposition"]
    for name in ("x.py", "x.tar.gz", "x"):
        assert server.client.post("/models/films/file", params={"name": name}, content=body).status_code == 422


def test_S34_no_text_is_logged(odd: Running, capfd: pytest.CaptureFixture[str]) -> None:
    odd.post(inputs="raise unmistakable")
    odd.post(inputs=[["unmistakable"], 3])
    odd.client.get("/unmistakable")
    said = capfd.readouterr()
    assert "unmistakable" not in said.out + said.err
