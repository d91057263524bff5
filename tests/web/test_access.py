"""Who may do what."""

from ipaddress import ip_network

import pytest
from aiohttp.test_utils import make_mocked_request

from processor.settings import Settings
from processor.web.access import Access, Caller
from processor.web.problems import ProblemError
from processor.web.sessions import SESSION_COOKIE

READ, WRITE = "a-token-to-read-with", "a-token-to-write-with"


def request(token=None, *, host="localhost:8080", path="/api/v1/overview", remote="127.0.0.1", **headers):
    given = {"Host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    if token is not None:
        given["Authorization"] = f"Bearer {token}"
    return make_mocked_request("GET", path, headers=given).clone(remote=remote)


def may(caller: Caller) -> tuple[bool, bool]:
    """Say whether somebody may read, and write."""
    return caller.may_read, caller.may_write


def problem_of(judge, *arguments) -> int:
    with pytest.raises(ProblemError) as refused:
        judge(*arguments)
    return refused.value.kind.status


class TestReading:
    def test_is_open_to_this_machine_while_no_token_is_set(self):
        assert may(Access(Settings()).reader(request())) == (True, False)

    @pytest.mark.parametrize("host", ["127.0.0.1:8080", "[::1]:8080", "localhost", "LOCALHOST.", "127.8.9.1"])
    def test_loopback_has_many_names(self, host):
        assert Access(Settings()).caller(request(host=host)).may_read

    @pytest.mark.parametrize("host", ["evil.example.com", "10.0.0.5:8080", "127.0.0.1.example.com", "[", ""])
    def test_another_name_for_this_machine_needs_a_token(self, host):
        """A web page may bind its own name to 127.0.0.1; its requests still carry that name."""
        assert problem_of(Access(Settings()).reader, request(host=host)) == 403

    @pytest.mark.parametrize("mark", ["X_Forwarded_For", "X_Forwarded_Proto", "Forwarded", "Via", "X_Real_IP"])
    def test_what_comes_through_a_proxy_needs_a_token(self, mark):
        """A proxy on this machine speaks for whoever asks it."""
        assert problem_of(Access(Settings()).reader, request(**{mark: "x"})) == 403

    def test_bound_beyond_loopback_it_needs_a_token(self):
        access = Access(Settings(http_host="0.0.0.0", read_token=READ))
        assert problem_of(access.reader, request()) == 401
        assert may(access.reader(request(READ))) == (True, False)

    def test_bound_beyond_loopback_and_without_tokens_nobody_may(self):
        assert problem_of(Access(Settings(http_host="0.0.0.0")).reader, request()) == 403

    def test_a_token_that_is_set_is_asked_for_on_loopback_too(self):
        """A proxy on this machine would else open it to the world."""
        assert problem_of(Access(Settings(read_token=READ)).reader, request()) == 401

    def test_the_write_token_reads(self):
        assert may(Access(Settings(http_host="0.0.0.0", write_token=WRITE)).reader(request(WRITE))) == (True, True)

    @pytest.mark.parametrize("wrong", ["", "a-token-to-read-wit", READ + "x", "å", READ.upper()])
    def test_a_wrong_token_is_none(self, wrong):
        assert problem_of(Access(Settings(read_token=READ)).reader, request(wrong)) == 401

    @pytest.mark.parametrize("tokens", [{}, {"write_token": WRITE}])
    @pytest.mark.parametrize("wrong", ["", READ, WRITE + "x"])
    def test_a_wrong_token_is_told_where_reading_needs_none(self, tokens, wrong):
        """Else its sender would take masked recipients, or an open worker, for what the token gives."""
        access = Access(Settings(**tokens))
        with pytest.raises(ProblemError, match="the bearer token is wrong"):
            access.reader(request(wrong))
        assert may(access.reader(request())) == (True, False)

    def test_wrong_tokens_are_limited_where_reading_needs_none(self):
        """Else the write token could be guessed by reading."""
        access = Access(Settings(write_token=WRITE))
        statuses = [problem_of(access.reader, request(f"guess-{number}")) for number in range(12)]
        assert (statuses[0], statuses[-1]) == (401, 429)
        assert access.reader(request(WRITE)).may_write

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
        access = Access(Settings(write_token=WRITE))
        access.require_operator(request(), WRITE)
        assert problem_of(access.require_operator, request(), "") == 401
        assert problem_of(Access(Settings()).require_operator, request(), "") == 403

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "evil.example.com"])
    def test_a_token_is_not_a_parameter(self, host):
        access = Access(Settings(read_token=READ, write_token=WRITE))
        for path in (f"/api/v1/overview?token={WRITE}", f"/api/v1/overview?access_token={READ}"):
            assert may(access.caller(request(host=host, path=path))) == (False, False)

    @pytest.mark.parametrize(
        "name", ["X_HTTP_Method_Override", "X_Original_URL", "X_Forwarded_User", "Proxy_Authorization"]
    )
    def test_other_headers_give_nothing(self, name):
        access = Access(Settings(read_token=READ, write_token=WRITE))
        assert may(access.caller(request(**{name: f"Bearer {WRITE}"}))) == (False, False)


class TestSession:
    access = Access(Settings(read_token=READ, write_token=WRITE))

    def with_cookie(self, value, **headers):
        return request(Cookie=f"{SESSION_COOKIE}={value}", **headers)

    @pytest.mark.parametrize(("token", "may_write"), [(READ, False), (WRITE, True)])
    def test_the_cookie_stands_for_the_token_and_does_not_hold_it(self, token, may_write):
        session = self.access.start_session(request(), token)
        assert session is not None
        assert token not in session
        assert may(self.access.caller(self.with_cookie(session))) == (True, may_write)

    def test_there_is_none_for_a_wrong_token(self):
        assert self.access.start_session(request(), "wrong") is None
        assert Access(Settings()).start_session(request(), "") is None

    def test_a_token_as_a_cookie_is_nothing(self):
        assert may(self.access.caller(self.with_cookie(READ))) == (False, False)

    def test_a_new_token_ends_old_sessions(self):
        session = self.access.start_session(request(), READ)
        assert not Access(Settings(read_token=READ + "2")).caller(self.with_cookie(session)).may_read

    def test_a_wrong_token_is_not_made_good_by_a_cookie(self):
        session = self.access.start_session(request(), READ)
        assert not self.access.caller(self.with_cookie(session, Authorization="Bearer wrong")).may_read

    def test_one_that_has_ended_is_none(self):
        cookie = self.access.start_session(request(), READ)
        session = self.access.session(self.with_cookie(cookie))
        self.access.end_session(session.number, session.given)
        assert may(self.access.caller(self.with_cookie(cookie))) == (False, False)

    @pytest.mark.parametrize("headers", [{"Origin": "http://localhost:8080"}, {"Sec_Fetch_Site": "same-origin"}, {}])
    def test_pages_of_ours_may_write(self, headers):
        cookie = self.access.start_session(request(), WRITE)
        assert self.access.writer(self.with_cookie(cookie, **headers)).may_write

    @pytest.mark.parametrize(
        "headers", [{"Origin": "http://localhost:9090"}, {"Origin": "null"}, {"Sec_Fetch_Site": "same-site"}]
    )
    def test_pages_of_others_may_not(self, headers):
        cookie = self.access.start_session(request(), WRITE)
        assert problem_of(self.access.writer, self.with_cookie(cookie, **headers)) == 403

    def test_behind_tls_a_page_without_it_is_another(self):
        access = Access(Settings(write_token=WRITE, trusted_proxies=(ip_network("127.0.0.1"),)))
        cookie = access.start_session(request(), WRITE)
        headers = {"Origin": "http://localhost:8080", "X_Forwarded_Proto": "https"}
        assert problem_of(access.writer, self.with_cookie(cookie, **headers)) == 403
        headers["Origin"] = "https://localhost:8080"
        assert access.writer(self.with_cookie(cookie, **headers)).may_write


class TestWrongTokens:
    def test_in_forms_there_may_be_some_and_then_one_has_to_wait(self):
        access = Access(Settings(write_token=WRITE))
        for _ in range(10):
            assert problem_of(access.require_operator, request(), "wrong") == 401
        for judge in (access.require_operator, access.start_session):
            with pytest.raises(ProblemError) as refused:
                judge(request(), WRITE)
            assert refused.value.kind.status == 429
            assert 1 <= int(refused.value.headers["Retry-After"]) <= 6

    def test_another_address_need_not_wait(self):
        access = Access(Settings(write_token=WRITE))
        for _ in range(10):
            problem_of(access.require_operator, request(remote="10.0.0.66"), "wrong")
        access.require_operator(request(), WRITE)

    def test_as_bearers_they_are_told_of_and_the_right_one_is_taken_all_the_same(self):
        access = Access(Settings(read_token=READ))
        statuses = [problem_of(access.reader, request("wrong")) for _ in range(12)]
        assert statuses == [401] * 10 + [429] * 2
        assert access.reader(request(READ)).may_read

    def test_behind_a_proxy_that_is_believed_it_is_the_client_who_waits(self):
        access = Access(Settings(write_token=WRITE, trusted_proxies=(ip_network("127.0.0.1"),)))
        for _ in range(10):
            problem_of(access.require_operator, request(X_Forwarded_For="10.0.0.66"), "wrong")
        assert problem_of(access.require_operator, request(X_Forwarded_For="10.0.0.66"), WRITE) == 429
        access.require_operator(request(X_Forwarded_For="10.0.0.7"), WRITE)

    def test_nobody_gets_another_address_by_saying_so(self):
        access = Access(Settings(write_token=WRITE))
        for number in range(10):
            problem_of(access.require_operator, request(X_Forwarded_For=f"10.0.0.{number}"), "wrong")
        assert problem_of(access.require_operator, request(X_Forwarded_For="10.0.0.99"), WRITE) == 429
