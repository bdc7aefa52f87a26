"""The server gives out its contents to who knows the secret, and nothing else."""

import gzip
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.rating_sheet import Rating, read_sheet, write_sheet
from nnunet_chordoma.viewer.server import ViewerServer


def ask(server, path, method="GET", body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    # http.client neither decodes nor tidies up the path.
    connection.request(method, path, body=body, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


@pytest.fixture
def server(serve, dataset, make_contents):
    return serve(make_contents(dataset))


@pytest.fixture(scope="module")
def lasting(serve, add_case, make_contents, tmp_path_factory):
    """For tests that change nothing: a server, and beside its files a secret."""
    folder = tmp_path_factory.mktemp("lasting")
    add_case(folder)
    (folder / "secret.txt").write_text("secret")
    return serve(make_contents(folder))


@pytest.fixture
def rating_server(serve, dataset, make_contents):
    sheet = dataset / "ratings.csv"
    write_sheet(sheet, [Rating("case_1", name, "gtv") for name in ("A", "B")])
    return serve(make_contents(dataset, sheet=sheet))


def test_page_overview_case_and_files(server, dataset):
    answer, content = ask(server, f"/{server.token}/")
    assert answer.status == 200
    assert b"<main>" in content
    overview = json.loads(ask(server, f"/{server.token}/api/overview")[1])
    assert overview["cases"][0]["name"] == "case_1"
    assert overview["structures"][1] == {"name": "gtv", "value": 2, "colour": "#f71608", "scored": True}
    details = json.loads(ask(server, f"/{server.token}/api/case/0")[1])
    assert details["review"][0]["slice"] == 9
    for number, file in enumerate(
        ["imagesTr/case_1_0000.nii.gz", "labelsTr/case_1.nii.gz", "predictions/case_1.nii.gz"]
    ):
        assert ask(server, f"/{server.token}/data/0/{number}")[1] == (dataset / file).read_bytes()


def test_headers_keep_the_page_to_itself(server):
    answer, _ = ask(server, f"/{server.token}/")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy
    assert "*" not in policy
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["/", "/index.html", "/api/overview", "/wrong/", "/wrong/api/overview", "/data/0/0", ""]
)
def test_without_the_secret_there_is_nothing(lasting, path):
    answer, content = ask(lasting, path)
    assert answer.status == 404
    assert b"case_1" not in content


def test_the_secret_is_long_and_new_each_time(serve, dataset, make_contents):
    one, two = serve(make_contents(dataset)), serve(make_contents(dataset))
    assert one.token != two.token
    assert len(one.token) >= 32


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", ""])
def test_another_host_is_refused(lasting, host):
    answer, _ = ask(lasting, f"/{lasting.token}/", Host=host.format(port=lasting.server_port))
    assert answer.status == 403


def test_only_this_machine_is_listened_to(server):
    assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize(
    "name",
    [
        "../dataset.json",
        "..%2fdataset.json",
        "%2e%2e/%2e%2e/etc/passwd",
        "data/../../../../etc/passwd",
        "data/0/../../../../../etc/passwd",
        "data//etc/passwd",
        "/etc/passwd",
        "//etc/passwd",
        "..\\..\\etc\\passwd",
        "data/0/../0/secret",
        "data/0/99",
        "data/7/0",
        "data/-1/0",
        "data/0/-1",
        "data/0/٣",
        "data/0",
        "vendor/",
        "vendor/../../server.py",
        "vendor/LICENSE/../../../cli.py",
        "data/0/0/../../../viewer.json",
        "api/case/9",
        "secret.txt",
        "\x00",
    ],
)
def test_no_path_leads_elsewhere(lasting, name):
    server = lasting
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as raw:
        request = (
            f"GET /{server.token}/{name} HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\nConnection: close\r\n\r\n"
        )
        raw.sendall(request.encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert re.match(rb"HTTP/1.1 (404|400) ", answer), answer[:200]
    assert b"secret" not in answer.split(b"\r\n\r\n", 1)[-1]
    assert b"root:" not in answer


def test_a_link_put_in_later_is_not_followed(server, dataset, tmp_path):
    secret = tmp_path / "secret.nii.gz"
    secret.write_bytes(gzip.compress(b"secret"))
    image = dataset / "imagesTr" / "case_1_0000.nii.gz"
    image.unlink()
    image.symlink_to(secret)
    answer, content = ask(server, f"/{server.token}/data/0/0")
    assert answer.status == 404
    assert content != secret.read_bytes()


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-9", 0, 10), ("bytes=5-", 5, None), ("bytes=-7", -7, None), ("bytes=2-2", 2, 3)],
)
def test_ranges(server, dataset, asked, first, last):
    whole = (dataset / "imagesTr" / "case_1_0000.nii.gz").read_bytes()
    answer, content = ask(server, f"/{server.token}/data/0/0", Range=asked)
    assert answer.status == 206
    assert content == whole[first:last]
    assert answer.headers["Content-Range"].endswith(f"/{len(whole)}")


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=-0", "bytes=9-3"])
def test_a_range_without_a_byte(lasting, asked):
    assert ask(lasting, f"/{lasting.token}/data/0/0", Range=asked)[0].status == 416


def test_head_has_no_body(server):
    answer, content = ask(server, f"/{server.token}/data/0/0", method="HEAD")
    assert answer.status == 200
    assert int(answer.headers["Content-Length"]) > 100
    assert content == b""


def rating(**changes):
    return json.dumps(
        {"patient": "case_1", "contours": "A", "structure": "gtv", "minutes": 2.5, "comments": "x"} | changes
    )


def post(server, body, path="api/rating", **headers):
    headers = {"Content_Type": "application/json"} | headers
    return ask(server, f"/{server.token}/{path}", method="POST", body=body, **headers)


def test_a_rating_reaches_the_sheet(rating_server, dataset):
    answer, content = post(rating_server, rating(comments="two\nlines"))
    assert answer.status == 200
    assert json.loads(content)[0]["minutes"] == 2.5
    assert read_sheet(dataset / "ratings.csv") == (
        Rating("case_1", "A", "gtv", 2.5, "two lines"),
        Rating("case_1", "B", "gtv", None, ""),
    )
    assert json.loads(ask(rating_server, f"/{rating_server.token}/api/ratings")[1])[0]["comments"] == "two lines"


def test_what_was_written_elsewhere_stays(rating_server, dataset):
    sheet = dataset / "ratings.csv"
    write_sheet(sheet, [Rating("case_1", "A", "gtv"), Rating("case_1", "B", "gtv", 7.0, "by hand")])
    post(rating_server, rating())
    assert read_sheet(sheet)[1] == Rating("case_1", "B", "gtv", 7.0, "by hand")


def test_what_is_not_given_stays(rating_server, dataset):
    whole = json.loads(rating())
    without = {name: {key: value for key, value in whole.items() if key != name} for name in ("minutes", "comments")}
    assert post(rating_server, json.dumps(without["comments"]))[0].status == 200
    # Another tab, which does not know of the minutes, adds words.
    assert post(rating_server, json.dumps(without["minutes"]))[0].status == 200
    assert read_sheet(dataset / "ratings.csv")[0] == Rating("case_1", "A", "gtv", 2.5, "x")


@pytest.mark.parametrize("name", ["ratings.csv", "ratings.xlsx"])
def test_characters_that_no_sheet_takes(serve, dataset, make_contents, name):
    sheet = dataset / name
    write_sheet(sheet, [Rating("case_1", "A", "gtv")])
    server = serve(make_contents(dataset, sheet=sheet))
    answer, _ = post(server, rating(comments="a\x00b\x07c\ud800d\x85e “é” =1"))
    assert answer.status == 200
    assert read_sheet(sheet) == (Rating("case_1", "A", "gtv", 2.5, "a b c d e “é” =1"),)


def test_a_sheet_that_cannot_be_written_is_told(rating_server, dataset, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    before = (dataset / "ratings.csv").read_bytes()
    monkeypatch.setattr("nnunet_chordoma.viewer.ratings.write_sheet", full)
    answer, content = post(rating_server, rating())
    assert answer.status == 422
    assert "ratings.csv: cannot be written (No space left on device)" in json.loads(content)["error"]
    assert (dataset / "ratings.csv").read_bytes() == before


def test_ratings_at_once_are_all_kept(rating_server, dataset):
    sheet = dataset / "ratings.csv"
    names = [f"structure_{number}" for number in range(12)]
    write_sheet(sheet, [Rating("case_1", "A", name) for name in names])
    with ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(lambda name: post(rating_server, rating(structure=name))[0].status, names))
    assert statuses == [200] * 12
    assert [each.minutes for each in read_sheet(sheet)] == [2.5] * 12


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("[" * 9000, "JSON"),
        (rating().replace("2.5", "1" + "0" * 400), "minutes"),
        (json.dumps({"patient": "case_1", "contours": "A", "structure": "gtv"}), "minutes or comments"),
        ("{", "JSON"),
        ("[]", "entries"),
        (rating(structure="liver"), "liver"),
        (rating(minutes=-1), "minutes"),
        (rating(minutes="3"), "minutes"),
        (rating(minutes=True), "minutes"),
        (rating().replace("2.5", "NaN"), "minutes"),
        (rating(extra=1), "entries"),
        (rating(comments="x" * 5000), "4000"),
    ],
)
def test_a_wrong_rating_changes_nothing(rating_server, dataset, body, words):
    before = (dataset / "ratings.csv").read_bytes()
    answer, content = post(rating_server, body)
    assert answer.status == 422
    assert words in json.loads(content)["error"]
    assert (dataset / "ratings.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Length": "99999999"}, 413),
    ],
)
def test_foreign_and_oversized_posts(rating_server, dataset, headers, status):
    before = (dataset / "ratings.csv").read_bytes()
    assert post(rating_server, rating(), **headers)[0].status == status
    assert (dataset / "ratings.csv").read_bytes() == before


def test_no_ratings_without_a_sheet(server):
    assert post(server, rating())[0].status == 404
    assert ask(server, f"/{server.token}/api/ratings")[0].status == 404


def test_blinded_contours_are_told_by_letter_alone(serve, dataset, make_contents):
    sheet = dataset / "ratings.csv"
    write_sheet(sheet, [Rating("case_1", name, "gtv") for name in ("A", "B")])
    server = serve(make_contents(dataset, sheet=sheet, roles=("blinded", "blinded")))
    # The files are labelsTr/case_1 and predictions/case_1.
    for name in ("api/overview", "api/case/0", "api/ratings", "data/0/1", "data/0/2", "data/0/3", "data/0/1?x"):
        answer, content = ask(server, f"/{server.token}/{name}")
        told = str(answer.headers) + ("" if name.startswith("data") and answer.status == 200 else content.decode())
        assert not re.search("labels|predict|reference|ensemble|nii|Last-Modified|Dice", told), name
    overview = json.loads(ask(server, f"/{server.token}/api/overview")[1])
    assert overview["cases"] == [
        {
            "name": "case_1",
            "overlays": [{"name": "A", "role": "blinded"}, {"name": "B", "role": "blinded"}],
            "verdict": None,
        }
    ]


def test_a_rating_needs_the_secret(rating_server, dataset):
    headers = {"Content_Type": "application/json"}
    assert ask(rating_server, "/wrong/api/rating", method="POST", body=rating(), **headers)[0].status == 404
    assert read_sheet(dataset / "ratings.csv")[0].minutes is None


def test_a_busy_port_is_one_line(server, dataset, make_contents):
    with pytest.raises(ChordomaError, match=rf"--port {server.server_port}: cannot listen on 127.0.0.1.*in use"):
        ViewerServer(make_contents(dataset), server.server_port)


def test_it_opens_at_a_slice(dataset):
    command = [sys.executable, "-m", "nnunet_chordoma.viewer.cli", str(dataset), "--no-browser", "--slice"]
    with subprocess.Popen([*command, "7"], stdout=subprocess.PIPE, text=True) as viewer:
        assert re.search(r"/#case=case_1&slice=7 \(", viewer.stdout.readline())
        viewer.terminate()
    refused = subprocess.run([*command, "20"], capture_output=True, text=True, check=False, timeout=30)
    assert refused.returncode == 1
    assert refused.stderr == "error: --slice 20: case 'case_1' has the slices 0 to 19; name one of these\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it(dataset, number):
    command = [sys.executable, "-m", "nnunet_chordoma.viewer.cli", str(dataset), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ) as viewer:
        assert re.match(r"viewer at http://127\.0\.0\.1:\d+/\S{32,}/ ", viewer.stdout.readline())
        viewer.send_signal(number)
        out, err = viewer.communicate(timeout=30)
    assert (viewer.returncode, out, err) == (0, "viewer ended\n", "")
