"""Who may do what."""

import time

import pytest
from aiohttp.test_utils import make_mocked_request

from processor.settings import Settings
from processor.web.access import HOP_HEADER, SESSION_COOKIE, Access, is_loopback
from processor.web.problems import ProblemError

READ, WRITE, HOP = "a-token-to-read-with", "a-token-to-write-with", "a-token-among-workers"


def request(token=None, *, host="localhost:8080", path="/api/v1/overview", remote="127.0.0.1", **headers):
    given = {"Host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    if token is not None:
        given["Authorization"] = f"Bearer {token}"
    return make_mocked_request("GET", path, headers=given).clone(remote=remote)


def problem_of(judge, *arguments) -> int:
    with pytest.raises(ProblemError) as refused:
        judge(*arguments)
    return refused.value.kind.status


class TestReading:
    def test_is_open_to_this_machine_while_no_token_is_set(self):
        assert Access(Settings()).reader(request()) == (True, False)

    @pytest.mark.parametrize("host", ["127.0.0.1:8080", "[::1]:8080", "localhost", "LOCALHOST.", "127.8.9.1"])
    def test_loopback_has_many_names(self, host):
        assert Access(Settings()).caller(request(host=host)).may_read

    @pytest.mark.parametrize("host", ["evil.example.com", "10.0.0.5:8080", "127.0.0.1.example.com", "[", ""])
    def test_another_name_for_this_machine_needs_a_token(self, host):
        """A web page may bind its own name to 127.0.0.1; its requests still carry that name."""
        assert problem_of(Access(Settings()).reader, request(host=host)) == 403

    def test_bound_beyond_loopback_it_needs_a_token(self):
        access = Access(Settings(http_host="0.0.0.0", read_token=READ))
        assert problem_of(access.reader, request()) == 401
        assert access.reader(request(READ)) == (True, False)

    def test_bound_beyond_loopback_and_without_tokens_nobody_may(self):
        assert problem_of(Access(Settings(http_host="0.0.0.0")).reader, request()) == 403

    def test_a_token_that_is_set_is_asked_for_on_loopback_too(self):
        """A proxy on this machine would else open it to the world."""
        assert problem_of(Access(Settings(read_token=READ)).reader, request()) == 401

    def test_the_write_token_reads(self):
        assert Access(Settings(http_host="0.0.0.0", write_token=WRITE)).reader(request(WRITE)) == (True, True)

    @pytest.mark.parametrize("wrong", ["", "a-token-to-read-wit", READ + "x", "å", READ.upper()])
    def test_a_wrong_token_is_none(self, wrong):
        assert problem_of(Access(Settings(read_token=READ)).reader, request(wrong)) == 401

    def test_the_challenge_names_the_scheme(self):
        with pytest.raises(ProblemError) as refused:
            Access(Settings(read_token=READ)).reader(request())
        assert refused.value.headers["WWW-Authenticate"].startswith("Bearer ")

    @pytest.mark.parametrize("header", [f"bearer {READ}", f"BEARER   {READ}"])
    def test_the_scheme_is_not_judged_by_its_case(self, header):
        assert Access(Settings(read_token=READ)).caller(request(Authorization=header)).may_read

    @pytest.mark.parametrize("header", [f"Basic {READ}", READ, "Bearer"])
    def test_other_schemes_are_not_taken(self, header):
        assert not Access(Settings(read_token=READ)).caller(request(Authorization=header)).may_read


class TestWriting:
    def test_is_off_without_its_token(self):
        assert problem_of(Access(Settings(read_token=READ)).writer, request(READ)) == 403

    def test_needs_its_token_on_loopback_too(self):
        access = Access(Settings(read_token=READ, write_token=WRITE))
        assert problem_of(access.writer, request()) == 401
        assert problem_of(access.writer, request(READ)) == 401
        assert access.writer(request(WRITE)).may_write

    def test_recipients_are_for_who_may_write(self):
        access = Access(Settings(read_token=READ, write_token=WRITE))
        assert not access.caller(request(READ)).sees_recipients
        assert access.caller(request(WRITE)).sees_recipients

    def test_a_form_tells_its_token_in_its_own_field(self):
        assert Access(Settings(write_token=WRITE)).may_write(WRITE)
        assert not Access(Settings(write_token=WRITE)).may_write("")
        assert not Access(Settings()).may_write("")
        assert not Access(Settings()).takes_writes


class TestSession:
    access = Access(Settings(read_token=READ, write_token=WRITE))

    def with_cookie(self, value, **headers):
        return request(Cookie=f"{SESSION_COOKIE}={value}", **headers)

    @pytest.mark.parametrize(("token", "may_write"), [(READ, False), (WRITE, True)])
    def test_the_cookie_stands_for_the_token_and_does_not_hold_it(self, token, may_write):
        session = self.access.session(token)
        assert session is not None
        assert token not in session
        assert self.access.caller(self.with_cookie(session)) == (True, may_write)

    def test_there_is_none_for_a_wrong_token(self):
        assert self.access.session("wrong") is None
        assert Access(Settings()).session("") is None

    def test_a_token_as_a_cookie_is_nothing(self):
        assert self.access.caller(self.with_cookie(READ)) == (False, False)

    def test_a_new_token_ends_old_sessions(self):
        session = self.access.session(READ)
        assert not Access(Settings(read_token=READ + "2")).caller(self.with_cookie(session)).may_read

    def test_a_wrong_token_is_not_made_good_by_a_cookie(self):
        session = self.access.session(READ)
        assert not self.access.caller(self.with_cookie(session, Authorization="Bearer wrong")).may_read

    @pytest.mark.parametrize("headers", [{"Origin": "http://localhost:8080"}, {"Sec_Fetch_Site": "same-origin"}, {}])
    def test_pages_of_ours_may_write(self, headers):
        assert self.access.writer(self.with_cookie(self.access.session(WRITE), **headers)).may_write

    @pytest.mark.parametrize(
        "headers", [{"Origin": "http://localhost:9090"}, {"Origin": "null"}, {"Sec_Fetch_Site": "same-site"}]
    )
    def test_pages_of_others_may_not(self, headers):
        assert problem_of(self.access.writer, self.with_cookie(self.access.session(WRITE), **headers)) == 403


class TestHops:
    PATH = "/internal/v1/messages/a%2Fb?reveal=true"
    access = Access(Settings(internal_token=HOP))

    def hop(self, path=PATH, signed=PATH, access=access, **more):
        return request(path=path, **{**access.sign(signed), **more})

    def test_a_worker_knows_another(self):
        assert self.access.check_hop(self.hop(remote="10.0.0.7")) is True

    def test_the_write_token_serves_where_there_is_no_other(self):
        access = Access(Settings(write_token=WRITE))
        assert access.check_hop(self.hop(access=access)) is True
        assert problem_of(self.access.check_hop, self.hop(access=access)) == 403

    def test_the_token_does_not_travel(self):
        assert HOP not in str(self.access.sign(self.PATH))

    def test_a_signature_is_for_one_path_only(self):
        assert problem_of(self.access.check_hop, self.hop(signed=self.PATH.replace("true", "false"))) == 403

    @pytest.mark.parametrize("header", ["", "unsigned", "t=1", "t=1,v1=00", "t={now},v1=" + "0" * 64])
    def test_what_is_not_signed_is_refused(self, header):
        assert (
            problem_of(
                self.access.check_hop,
                request(path=self.PATH, **{HOP_HEADER: header.replace("{now}", str(int(time.time())))}),
            )
            == 403
        )

    def test_a_signature_gets_old(self, monkeypatch):
        hop = self.hop()
        later = time.time() + 61
        monkeypatch.setattr(time, "time", lambda: later)
        assert problem_of(self.access.check_hop, hop) == 403

    def test_without_tokens_this_machine_is_believed_and_told_no_recipients(self):
        access = Access(Settings())
        assert access.check_hop(self.hop(access=access)) is False
        assert problem_of(access.check_hop, self.hop(access=access, remote="10.0.0.7")) == 403
        assert problem_of(access.check_hop, request(path=self.PATH)) == 403

    def test_without_tokens_and_bound_beyond_loopback_nobody_is(self):
        assert problem_of(Access(Settings(http_host="0.0.0.0")).check_hop, self.hop(access=Access(Settings()))) == 403


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("example.com", False), ("", False)],
)
def test_loopback(host, expected):
    assert is_loopback(host) is expected
