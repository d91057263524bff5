"""Whom a proxy says that it has signed in, and whom it is believed of."""

from ipaddress import ip_network

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from processor.settings import Settings
from processor.users import Role, forwarded_name, forwarded_role
from processor.web.access import Access, By
from processor.web.problems import ProblemError

READER, UNMASKED, OPERATOR = Role

PROXY, STRANGER = "10.0.0.7", "10.0.1.66"
ROLES = {"support": READER, "leads": UNMASKED, "ops": OPERATOR}
BEHIND_PROXY = Settings(http_host="0.0.0.0", user_proxies=(ip_network("10.0.0.0/24"),), user_roles=ROLES)
ULLA = ("X-Forwarded-User", "ulla@example.com")

NOBODY = ("no token", None)


def request(*headers: tuple[str, str], remote: str = PROXY, host: str = "status.example.com", method: str = "GET"):
    given = CIMultiDict([("Host", host), *headers])
    return make_mocked_request(method, "/api/v1/overview", headers=given).clone(remote=remote)


def groups(text: str) -> tuple[str, str]:
    return "X-Forwarded-Groups", text


@pytest.mark.parametrize(
    ("headers", "remote", "who"),
    [
        ([ULLA, groups("support")], PROXY, ("ulla@example.com", READER)),
        ([ULLA, groups("leads")], PROXY, ("ulla@example.com", UNMASKED)),
        ([ULLA, groups("leads")], f"::ffff:{PROXY}", ("ulla@example.com", UNMASKED)),
        ([ULLA, groups("support,ops , others")], PROXY, ("ulla@example.com", OPERATOR)),
        ([ULLA, groups("others"), groups("leads")], PROXY, ("ulla@example.com", UNMASKED)),
        ([("x-forwarded-user", "ulla"), ("x-forwarded-groups", "ops")], PROXY, ("ulla", OPERATOR)),
        # Known, and without rights.
        ([ULLA], PROXY, ("ulla@example.com", None)),
        ([ULLA, groups("OPS")], PROXY, ("ulla@example.com", None)),
        ([ULLA, groups("")], PROXY, ("ulla@example.com", None)),
        ([ULLA, groups("*")], PROXY, ("ulla@example.com", None)),
        # Nobody, though the proxy says so.
        ([groups("ops")], PROXY, NOBODY),
        ([("X-Forwarded-User", ""), groups("ops")], PROXY, NOBODY),
        ([("X-Forwarded-User", "write token"), groups("ops")], PROXY, NOBODY),
        ([("X-Forwarded-User", "x" * 101), groups("ops")], PROXY, NOBODY),
        ([ULLA, ("X-Forwarded-User", "per"), groups("ops")], PROXY, NOBODY),
        # Others say so.
        ([ULLA, groups("ops")], STRANGER, NOBODY),
        ([ULLA, groups("ops")], "", NOBODY),
        ([ULLA, groups("ops")], "127.0.0.1", NOBODY),
        ([ULLA, groups("ops"), ("X-Forwarded-For", PROXY)], STRANGER, NOBODY),
        ([ULLA, groups("ops"), ("X-Real-IP", PROXY), ("Forwarded", f"for={PROXY}")], STRANGER, NOBODY),
        # No proxy is asked to send these.
        ([("X_Forwarded_User", "ulla"), groups("ops")], PROXY, NOBODY),
        ([("X-Forwarded-Email", "ulla@example.com"), groups("ops")], PROXY, NOBODY),
        ([("X-Auth-Request-User", "ulla"), groups("ops")], PROXY, NOBODY),
        ([("Remote-User", "ulla"), groups("ops")], PROXY, NOBODY),
    ],
)
def test_who_it_is(headers, remote, who):
    caller = Access(BEHIND_PROXY).caller(request(*headers, remote=remote))
    assert (caller.name, caller.role) == who
    assert caller.by is (By.NOTHING if who == NOBODY else By.PROXY)


@pytest.mark.parametrize(
    ("values", "name"), [([], None), (["ulla"], "ulla"), (["ulla", "ulla"], None), (["a b"], None), (["\udcff"], None)]
)
def test_a_header_says_one_name(values, name):
    assert forwarded_name(values) == name


@pytest.mark.parametrize(
    ("values", "roles", "role"),
    [
        ([], ROLES, None),
        (["ops"], {}, None),
        (["support", "ops"], ROLES, OPERATOR),
        (["a,b,leads,support"], ROLES, UNMASKED),
        ([], {"*": READER}, READER),
        (["ops"], {"*": READER, **ROLES}, OPERATOR),
        (["none"], {"*": UNMASKED, "none": READER}, UNMASKED),
    ],
)
def test_groups_have_the_highest_of_their_roles(values, roles, role):
    assert forwarded_role(values, roles) == role


def test_without_roles_no_proxy_is_believed():
    access = Access(Settings(http_host="0.0.0.0", trusted_proxies=(ip_network("10.0.0.0/24"),)))
    assert access.caller(request(ULLA, groups("ops"))).role is None


def test_an_open_worker_gives_no_more_for_it():
    caller = Access(Settings(write_token="w" * 16)).caller(
        request(ULLA, groups("ops"), remote="127.0.0.1", host="localhost")
    )
    assert (caller.role, caller.by) == (READER, By.MACHINE)


def test_a_worker_behind_a_proxy_is_not_open_to_its_machine():
    settings = Settings(user_proxies=(ip_network("127.0.0.1"),), user_roles=ROLES)
    with pytest.raises(ProblemError, match="signed in by a proxy"):
        Access(settings).reader(request(remote="127.0.0.1", host="localhost"))


def test_who_has_no_role_is_told_so():
    with pytest.raises(ProblemError, match=r"ulla@example\.com is in no group") as refused:
        Access(BEHIND_PROXY).reader(request(ULLA, groups("others")))
    assert refused.value.kind.status == 403


def test_what_is_ignored_is_told_of_once(capsys):
    access = Access(BEHIND_PROXY)
    for number in range(5):
        access.caller(request(ULLA, groups("ops"), remote=f"10.0.1.{number}"))
    for name in ("", "a b"):
        access.caller(request(("X-Forwarded-User", name)))
    assert capsys.readouterr().out.count("user_header_ignored") == 2


def test_a_token_goes_before_what_a_proxy_says():
    settings = Settings(
        http_host="0.0.0.0", read_token="r" * 16, user_proxies=BEHIND_PROXY.user_proxies, user_roles=ROLES
    )
    access = Access(settings)
    caller = access.caller(request(ULLA, groups("ops"), ("Authorization", "Bearer " + "r" * 16)))
    assert (caller.name, caller.role) == ("read token", READER)
    assert access.caller(request(ULLA, groups("ops"), ("Authorization", "Bearer wrong"))).role is None


@pytest.mark.parametrize(
    ("headers", "may"),
    [
        ([], True),
        ([("Origin", "https://status.example.com")], True),
        ([("Sec-Fetch-Site", "same-origin")], True),
        ([("Origin", "https://evil.example.com")], False),
        ([("Origin", "null")], False),
        ([("Sec-Fetch-Site", "cross-site")], False),
        ([("Sec-Fetch-Site", "same-site")], False),
    ],
)
def test_pages_of_others_may_not_write_in_an_operators_name(headers, may):
    access, asked = Access(BEHIND_PROXY), request(ULLA, groups("ops"), *headers, method="POST")
    if may:
        assert access.writer(asked).may_write
    else:
        with pytest.raises(ProblemError, match="another origin"):
            access.writer(asked)


@pytest.mark.parametrize(("group", "asks"), [("ops", False), ("leads", True), ("others", True)])
def test_a_form_asks_operators_for_no_token_that_they_do_not_have(group, asks):
    access, asked = Access(BEHIND_PROXY), request(ULLA, groups(group))
    assert access.asks_for_token(asked) is asks
    if asks:
        with pytest.raises(ProblemError, match="the form does not have"):
            access.require_operator(asked, "")
    else:
        access.require_operator(asked, "")
        assert access.caller(asked).name == "ulla@example.com"
