"""Users and roles: what each role may do, and what a file of users may say."""

import json
from hashlib import sha256

import pytest

from processor.users import USERS_MAX, Credential, Role, User, UsersError, digest_of, is_name, owner_of, read_users

READER, UNMASKED, OPERATOR = Role

TOKEN = "a-token-of-ulla"
ULLA = {"name": "ulla@example.com", "role": "operator", "token_sha256": sha256(TOKEN.encode()).hexdigest()}
PER = {"name": "per", "role": "reader", "token_sha256": sha256(b"a-token-of-per").hexdigest()}


def file_of(*users: object) -> bytes:
    return json.dumps({"users": users}).encode()


def faults_of(content: bytes) -> tuple[str, ...]:
    with pytest.raises(UsersError) as wrong:
        read_users(content)
    return wrong.value.faults


@pytest.mark.parametrize(
    ("role", "included"), [(READER, {READER}), (UNMASKED, {READER, UNMASKED}), (OPERATOR, {READER, UNMASKED, OPERATOR})]
)
def test_a_role_includes_those_before_it(role, included):
    assert {other for other in Role if role.includes(other)} == included


@pytest.mark.parametrize("name", ["ulla", "ulla@example.com", "Åsa", "DOMAIN\\per", "x" * 100])
def test_names(name):
    assert is_name(name)


@pytest.mark.parametrize(
    "name", ["", "write token", "a\tb", "a\n", "x" * 101, "a\u202eb", "\udcff", "a\u2003b", "\x7f"]
)
def test_what_is_no_name(name):
    assert not is_name(name)


class TestFile:
    def test_names_users_with_roles_and_hashes(self):
        assert read_users(file_of(ULLA, PER)) == (
            Credential(User("ulla@example.com", OPERATOR), digest_of(TOKEN)),
            Credential(User("per", READER), digest_of("a-token-of-per")),
        )

    def test_may_name_nobody(self):
        assert read_users(file_of()) == ()

    def test_the_case_of_a_hash_does_not_matter(self):
        [ulla] = read_users(file_of({**ULLA, "token_sha256": ULLA["token_sha256"].upper()}))
        assert ulla.digest == digest_of(TOKEN)

    @pytest.mark.parametrize(
        ("content", "fault"),
        [
            (b"", "it is not JSON"),
            (b"{", "it is not JSON"),
            (b"\xff", "it is not JSON"),
            (b"[" * 100_000, "it is not JSON"),
            (b"[]", 'it is not {"users": [...]}'),
            (b'{"users": {}}', 'it is not {"users": [...]}'),
            (b'{"users": [], "groups": []}', 'it is not {"users": [...]}'),
            (b" " * (1024 * 1024 + 1), "it is larger than"),
            (file_of(*[PER] * (USERS_MAX + 1)), "it has more than 1000 users"),
        ],
    )
    def test_what_is_none(self, content, fault):
        [told] = faults_of(content)
        assert told.startswith(fault)

    @pytest.mark.parametrize(
        ("changed", "fault"),
        [
            ({"name": ""}, "name must be"),
            ({"name": None}, "name must be"),
            ({"name": "write token"}, "name must be"),
            ({"role": "admin"}, "role must be one of reader, unmasked_reader, operator"),
            ({"role": ["operator"]}, "role must be one of"),
            ({"token_sha256": TOKEN}, "token_sha256 must be 64"),
            ({"token_sha256": 7}, "token_sha256 must be 64"),
            ({"token_sha256": sha256().hexdigest()}, "token_sha256 is the hash of an empty text"),
            ({"token": TOKEN}, "'token' is none of name, role, token_sha256"),
        ],
    )
    def test_a_wrong_user_is_named_by_place(self, changed, fault):
        [told] = faults_of(file_of(PER, {**ULLA, **changed}))
        assert told.startswith(f"users[1]: {fault}")

    @pytest.mark.parametrize("user", [None, "ulla", []])
    def test_a_user_is_an_object(self, user):
        [told] = faults_of(file_of(user))
        assert told.startswith("users[0]: it is not {")

    def test_two_may_not_share_a_name_or_a_token(self):
        assert faults_of(file_of(ULLA, {**PER, "name": ULLA["name"]})) == ("'ulla@example.com' is there 2 times",)
        same = {**PER, "token_sha256": ULLA["token_sha256"].upper()}
        assert faults_of(file_of(ULLA, same)) == ("two users have the same token_sha256",)

    def test_every_fault_is_named_and_none_shows_a_token(self):
        faults = faults_of(file_of({"name": "a b", "role": "x", "token_sha256": TOKEN}, "y", PER, PER))
        assert len(faults) == 6
        assert TOKEN not in " ".join(faults)


class TestTokens:
    users = read_users(file_of(ULLA, PER))

    def test_whose_one_is(self):
        owner = owner_of(TOKEN, self.users)
        assert owner is not None
        assert owner.user.name == "ulla@example.com"

    @pytest.mark.parametrize("token", ["", TOKEN + "x", TOKEN.upper(), ULLA["token_sha256"], "\udcff"])
    def test_what_is_nobodys(self, token):
        assert owner_of(token, self.users) is None
